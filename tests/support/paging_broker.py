"""A virtual host in this process whose messages are paged out almost at once."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from broker.publishing import publish_to_queues
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.queueing.ready import PagedMessage
from broker.routing.address import encode_address
from protocol.amqp.header_fields import find_traits
from protocol.amqp.properties import BasicProperties, encode_properties
from storage.disk import Disk
from storage.machine import Machine
from storage.stepped_fetcher import SteppedFetcher
from tests.support.in_process import InProcessBroker

Result = TypeVar("Result")


class SteppedReading(Machine):
    """This machine, except that nothing is read before ``step``."""

    def fetcher(self, disk: Disk, directory: Path, completion: int) -> SteppedFetcher:
        self.stepped = SteppedFetcher(disk, directory, completion)
        return self.stepped

    def read_all(self) -> None:
        while self.stepped.can_step:
            self.stepped.step()


class PagingBroker(InProcessBroker):
    """A virtual host with room for two messages or so."""

    def declare(self, name: str, *, durable: bool = True, **arguments: Any) -> Queue:
        named = {"x-" + key.replace("_", "-"): value for key, value in arguments.items()}
        queue, _ = self.vhost.declare_queue(name, durable=durable, auto_delete=False, owner=None, arguments=named)
        return queue

    def publish(
        self, *queues: Queue, count: int = 1, persistent: bool = True, size: int = 4, **properties: Any
    ) -> None:
        for number in range(count):
            body = number.to_bytes(4, "big").ljust(size, b"-")
            header = encode_properties(BasicProperties(delivery_mode=2 if persistent else 1, **properties), len(body))
            message = Message(encode_address("", "k"), header, body, persistent, find_traits(header))
            publish_to_queues(self.vhost, list(queues), message)

    def complete(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run something that waits for what is read, while the broker does whatever it wants meanwhile."""

        async def run() -> Result:
            task = asyncio.ensure_future(coroutine)
            await asyncio.sleep(0)
            self.settle()
            return await asyncio.wait_for(task, 5)

        return asyncio.run(run())

    @property
    def live_count(self) -> int:
        return self.vhost.journal.journal.live_record_count


def paged(queue: Queue) -> list[int]:
    entries = (*queue.entries(0, 1 << 20), *queue.waiting_entries(0, 1 << 20))
    return sorted(entry[0] for entry in entries if isinstance(entry[1], PagedMessage))
