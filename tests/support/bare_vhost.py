"""A virtual host without sockets: its turns are run by the test, and it can be opened again from its directory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from broker.metrics.counters import Counters
from broker.publishing import Published, publish_to_queues
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.routing.address import encode_address
from broker.turn import Turn
from broker.vhost import VirtualHost
from protocol.amqp.header_fields import find_traits
from protocol.amqp.properties import BasicProperties, encode_properties
from storage.options import JournalOptions
from tests.support.paged import read_back_all


class BareVirtualHost:
    """One virtual host in ``directory``."""

    def __init__(self, directory: Path, segment_size: int = 1 << 20) -> None:
        self.directory = directory
        self._options = JournalOptions(segment_size, segment_size, spare_files_max=1)
        self._calls: list[Callable[[], None]] = []
        self.vhost = self._open()

    def _open(self) -> VirtualHost:
        turn = Turn(self._calls.append)
        failures: list[Any] = []
        vhost = VirtualHost.open(
            "/", self.directory, turn, Counters(), self._options, lambda name, error: failures.append((name, error))
        )
        read_back_all(vhost)
        return vhost

    def run(self) -> None:
        """Run turns until there is nothing more to do."""
        while self._calls:
            calls, self._calls[:] = list(self._calls), []
            for call in calls:
                call()

    def restart(self) -> None:
        """Close the virtual host as a clean stop does, and open it again."""
        self.close()
        self.vhost = self._open()

    def close(self) -> None:
        """Bring everything to disk."""
        self.run()
        self.vhost.journal.write_settled()
        self.vhost.journal.journal.close()
        self._calls.clear()

    def declare(self, name: str, **arguments: Any) -> Queue:
        """Declare a durable queue; underscores of arguments become hyphens behind ``x-``."""
        named = {"x-" + key.replace("_", "-"): value for key, value in arguments.items()}
        queue, _ = self.vhost.declare_queue(name, durable=True, auto_delete=False, owner=None, arguments=named)
        return queue

    def publish(self, routing_key: str, body: bytes, exchange: str = "", **properties: Any) -> Published:
        """Publish a persistent message."""
        header = encode_properties(BasicProperties(delivery_mode=2, **properties), len(body))
        message = Message(encode_address(exchange, routing_key), header, body, True, find_traits(header))
        queues = self.vhost.find_queues(self.vhost.find_exchange(exchange), [routing_key], message)
        return publish_to_queues(self.vhost, queues, message)


def bodies(queue: Queue) -> list[bytes]:
    """The bodies of the ready messages of a queue, which stay there."""
    return [message.body for _, message, _ in queue.entries(0, 1_000_000)]
