"""What a load publishes to and consumes from: its queues, its exchange, its bindings."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.client import CHANNEL, Client
from protocol.amqp.methods import ExchangeDeclare, ExchangeDelete, QueueBind, QueueDeclare, QueueDelete

QUEUE = "haypile-benchmark"
EXCHANGE = "haypile-benchmark-exchange"
BINDINGS = 1_000
DELETION_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: bodies of ``size_bytes``, confirmed with at most ``window`` in flight (0: no confirms).

    Publisher and consumer number i use queue i modulo ``queues``. An ``exchange`` is of type ``fanout``, with all
    queues, or ``topic``, with ``BINDINGS`` bindings to the first queue; otherwise it is the default exchange.
    """

    size_bytes: int
    durable: bool = False
    window: int = 0
    prefetch: int = 0
    ack_every: int = 0
    publishers: int = 1
    consumers: int = 1
    queues: int = 1
    exchange: str = ""
    queue: str = QUEUE
    length_max: int = 0
    """How many messages a queue keeps (0: all)."""

    @property
    def copies(self) -> int:
        """How many deliveries one message leads to."""
        return self.queues if self.exchange == "fanout" else 1

    @property
    def exchange_name(self) -> str:
        """The exchange that is published to."""
        return EXCHANGE if self.exchange else ""

    def queue_name(self, number: int) -> str:
        """Return the queue of a publisher or consumer."""
        return f"{self.queue}-{number % self.queues}" if self.queues > 1 else self.queue

    def routing_keys(self, number: int) -> list[str]:
        """Return the routing keys that a publisher goes round; all have the same length."""
        if self.exchange == "topic":
            return [f"rk.{binding:06}.x" for binding in range(BINDINGS)]
        return [self.queue_name(number)]


class Topology:
    """Queues, exchange and bindings of a load, as long as they are needed."""

    def __init__(self, port: int, load: Load) -> None:
        self._load = load
        self.client = Client(port)
        self.client.socket.settimeout(DELETION_TIMEOUT_S)

    def __enter__(self) -> Topology:
        load, call = self._load, self.client.call
        self._delete()
        if load.exchange:
            call(CHANNEL, ExchangeDeclare(exchange=EXCHANGE, type=load.exchange, durable=load.durable))
        arguments = {"x-max-length": load.length_max} if load.length_max else {}
        for number in range(load.queues):
            call(CHANNEL, QueueDeclare(queue=load.queue_name(number), durable=load.durable, arguments=arguments))
            if load.exchange == "fanout":
                call(CHANNEL, QueueBind(queue=load.queue_name(number), exchange=EXCHANGE))
        if load.exchange == "topic":
            for binding in range(BINDINGS):
                pattern = f"rk.{binding:06}.*"
                call(CHANNEL, QueueBind(queue=load.queue_name(0), exchange=EXCHANGE, routing_key=pattern))
        return self

    def __exit__(self, *_: object) -> None:
        self._delete()
        self.client.close()

    def _delete(self) -> None:
        for number in range(self._load.queues):
            self.client.call(CHANNEL, QueueDelete(queue=self._load.queue_name(number)))
        if self._load.exchange:
            self.client.call(CHANNEL, ExchangeDelete(exchange=EXCHANGE))
