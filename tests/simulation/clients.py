"""What the simulated clients do: publish with confirms or in transactions, consume and settle, purge and delete."""

import random
from collections.abc import Callable
from typing import Any

from pamqp.commands import Basic, Channel, Confirm, Exchange, Queue, Tx

from tests.simulation.broker_model import BrokerModel, Copy, Counting, Group, Message
from tests.simulation.client import Client
from tests.simulation.violation import Violation, demand
from tests.support.in_process import InProcessBroker

FANOUT = "fan"
AGAIN = "again"
SCRATCH = "scratch"
REFUSING = "refusing"
FANNED_OUT = ("q1", "q2", "ttl", "transient", AGAIN)
DIRECT = ("q1", "q2", "ttl", "short", "limited", "transient", AGAIN, SCRATCH)
DEAD_LETTER_QUEUES = {"ttl": "dead ttl", "short": "dead short", "limited": "dead limited"}
CONSUMED = (*DIRECT, REFUSING, *DEAD_LETTER_QUEUES.values())
DELIVERY_LIMIT = 2
REDELIVERY_DELAY_MS = 10_000
COUNTING = {"limited": Counting(limit=DELIVERY_LIMIT), AGAIN: Counting(REDELIVERY_DELAY_MS)}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ttl": {"x-message-ttl": 3000},
    "short": {"x-max-length": 4},
    "limited": {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT},
    AGAIN: {"x-redelivery-delay": REDELIVERY_DELAY_MS},
    REFUSING: {"x-max-length": 3, "x-overflow": "reject-publish"},
}
BODY_SIZES = (0, 10, 100, 500, 3000, 9000)
OUTSTANDING_MAX = 60


class World:
    """What clients share: the broker, what is known of it, and chance."""

    def __init__(
        self,
        broker: InProcessBroker,
        model: BrokerModel,
        chance: random.Random,
        run_turn: Callable[[], bool],
        pass_time: Callable[[int], None],
        note: Callable[[str], None],
    ) -> None:
        self.broker = broker
        self.model = model
        self.chance = chance
        self.run_turn = run_turn
        self.pass_time = pass_time
        self.note = note
        self.queues: set[str] = set()
        self.recovered: dict[str, str] = {}
        """Queues that a start has made up, and those whose messages they hold."""


class ModelledClient(Client):
    """A client that tells the model what it does, and what is done to it."""

    def __init__(self, world: World) -> None:
        super().__init__(world.broker, world.chance, world.run_turn)
        self.world = world
        self.model = world.model

    def new_publish(self) -> tuple[Message, str, str, list[str]]:
        """Return a message that is to be sent, its exchange and routing key, and the queues that these stand for."""
        chance = self.chance
        message = self.model.new_message(self, chance.random() < 0.8, chance.randint(0, chance.choice(BODY_SIZES)))
        if chance.random() < 0.4:
            return message, FANOUT, "", list(FANNED_OUT)
        queue = chance.choice(DIRECT)
        return message, "", queue, [queue]

    def on_delivered(self, queue: str, method: Any, body: bytes, audit: bool = False) -> Copy:
        count = self.delivery_count()
        copy = self.model.on_delivered(queue, body, method.redelivered, self, delivery_count=count, audit=audit)
        again = f" again, {count} returns" if method.redelivered else ""
        self.world.note(f"{copy} from {queue}, tag {method.delivery_tag}{again}")
        return copy

    def on_gone(self) -> None:
        self.model.on_cut(self)

    def existing(self, queues: list[str]) -> list[str]:
        return [queue for queue in queues if queue in self.world.queues]


class Publisher(ModelledClient):
    """Publishes with confirms."""

    def open(self) -> None:
        super().open()
        self.call(Confirm.Select(), Confirm.SelectOk)
        self.outstanding: dict[int, Message] = {}
        self.count = 0

    def act(self) -> None:
        if len(self.outstanding) >= OUTSTANDING_MAX:
            return
        message, exchange, routing_key, queues = self.new_publish()
        if self.chance.random() < 0.1:
            exchange, routing_key, queues = "", REFUSING, [REFUSING]
        self.count += 1
        self.outstanding[self.count] = message
        self.publish(
            message.body,
            exchange,
            routing_key,
            message.persistent,
            lambda: self._on_taken_in(message, queues),
        )

    def _on_taken_in(self, message: Message, queues: list[str]) -> None:
        self.model.on_published(message, self.existing(queues))
        self.world.note(f"message {message.number} to {queues}")

    def on_method(self, method: Any) -> bool:
        if not isinstance(method, (Basic.Ack, Basic.Nack)):
            return False
        tag = method.delivery_tag
        confirmed = [number for number in self.outstanding if number == tag or (method.multiple and number < tag)]
        demand(tag in confirmed, f"a publish is confirmed once: {tag}")
        for number in confirmed:
            message = self.outstanding.pop(number)
            demand(message.published, f"what was not read yet is not confirmed: {number}")
            self.world.note(f"message {message.number} {method.name}")
            if isinstance(method, Basic.Ack):
                message.confirmed = True
            else:
                demand([copy.homes for copy in message.copies] == [(REFUSING,)], f"nothing is refused: {number}")
                message.published = False
        return True


class Consumer(ModelledClient):
    """Consumes a queue, and settles in any way."""

    queue: str

    def open(self) -> None:
        super().open()
        self.held: dict[int, Copy] = {}
        self.tags: list[int] = []
        self.is_closing = False
        self.queue = self.chance.choice(CONSUMED)
        self.call(Basic.Qos(prefetch_count=self.chance.choice([0, 1, 3, 20])), Basic.QosOk)
        self.consume()

    def consume(self) -> None:
        if self.queue in self.world.queues:
            self.call(Basic.Consume(queue=self.queue, consumer_tag="c"), Basic.ConsumeOk)

    def on_delivery(self, method: Any, body: bytes) -> None:
        if not self.is_closing:
            self.held[method.delivery_tag] = self.on_delivered(self.queue, method, body)

    def on_method(self, method: Any) -> bool:
        # The queue was deleted.
        return isinstance(method, Basic.Cancel)

    def act(self) -> None:
        if self.chance.random() < 0.03:
            self.stop_and_go()
            return
        if not self.held:
            return
        tag = self.chance.choice(list(self.held))
        multiple = self.chance.random() < 0.3
        tags = [held for held in self.held if held == tag or (multiple and held < tag)]
        self.tags = tags
        copies = [self.held.pop(held) for held in tags]
        how = self.chance.choice(["ack", "ack", "ack", "requeue", "reject"])
        method: Any = Basic.Ack(tag, multiple)
        if how != "ack":
            method = Basic.Nack(tag, multiple, how == "requeue")
        self.settle(method, copies, how)

    def stop_and_go(self) -> None:
        """Cancel the consumer, or close the channel, and begin again."""
        if self.chance.random() < 0.5:
            self.call(Basic.Cancel(consumer_tag="c"), Basic.CancelOk)
            self.consume()
            return
        self.held.clear()
        self.call(Channel.Close(200, "", 0, 0), Channel.CloseOk, self.on_channel_closed)
        self.is_closing = False
        self.call(Channel.Open(), Channel.OpenOk)
        self.consume()

    def on_channel_closed(self) -> None:
        # What the broker has sent before is in its queue again.
        self.is_closing = True
        self.on_gone()

    def settle(self, method: Any, copies: list[Copy], how: str) -> None:
        def on_taken_in() -> None:
            for copy in copies:
                self.model.on_settled(copy, self.queue, how)

        self.send(method, on_taken_in)
        self.world.note(f"{how} {method.delivery_tag}")


class Getter(Consumer):
    """Gets messages one by one."""

    def consume(self) -> None:
        """Begin with nothing, and with a queue that nobody deletes meanwhile."""
        if self.queue == SCRATCH:
            self.queue = "q1"

    def stop_and_go(self) -> None:
        """Get another one."""
        if self.queue in self.world.queues:
            self.send(Basic.Get(queue=self.queue))

    def act(self) -> None:
        if self.chance.random() < 0.6:
            self.stop_and_go()
        else:
            super().act()

    def on_method(self, method: Any) -> bool:
        return isinstance(method, Basic.GetEmpty)


class Transactor(Consumer):
    """Consumes and publishes in transactions."""

    def open(self) -> None:
        super().open()
        self.call(Tx.Select(), Tx.SelectOk)
        self.taken: dict[int, Copy] = {}
        self.published: list[tuple[Message, list[str]]] = []
        self.settled: list[tuple[Copy, str]] = []
        self.committing: list[list[Message]] = []

    def stop_and_go(self) -> None:
        """Roll back: what was settled is held again, and what was published is not."""
        self.call(Tx.Rollback(), Tx.RollbackOk)
        self.published.clear()
        self.held.update(self.taken)
        self.held = dict(sorted(self.held.items()))
        self.taken.clear()
        self.settled.clear()

    def act(self) -> None:
        fate = self.chance.random()
        if fate < 0.45:
            message, exchange, routing_key, queues = self.new_publish()
            self.published.append((message, queues))
            self.publish(message.body, exchange, routing_key, message.persistent, lambda: None)
        elif fate < 0.8:
            super().act()
        elif self.published or self.settled:
            published, settled = self.published, self.settled
            self.published, self.settled = [], []
            self.taken.clear()
            self.committing.append([message for message, _ in published])
            self.send(Tx.Commit(), lambda: self._on_committed(published, settled))

    def settle(self, method: Any, copies: list[Copy], how: str) -> None:
        self.settled += [(copy, how) for copy in copies]
        self.taken.update(zip(self.tags, copies, strict=True))
        self.send(method)

    def _on_committed(self, published: list[tuple[Message, list[str]]], settled: list[tuple[Copy, str]]) -> None:
        group = Group(self.model.life)
        self.model.groups.append(group)
        for message, queues in published:
            self.model.on_published(message, self.existing(queues), group)
        for copy, how in settled:
            self.model.on_settled(copy, self.queue, how, group)

    def on_method(self, method: Any) -> bool:
        if isinstance(method, Tx.CommitOk):
            if not self.committing:
                raise Violation("a commit is answered once")
            for message in self.committing.pop(0):
                demand(message.published, "what was not read yet is not committed")
                message.confirmed = True
            return True
        return super().on_method(method)


class Administrator(ModelledClient):
    """Declares what there is, and purges and deletes now and then."""

    def set_up(self) -> None:
        """Declare everything that is not there for sure; what is, has to be found."""
        self.call(Exchange.Declare(exchange=FANOUT, exchange_type="fanout", durable=True), Exchange.DeclareOk)
        for queue in CONSUMED:
            self.declare(queue)
        for queue in FANNED_OUT:
            if queue not in self.model.bound:
                self.call(Queue.Bind(queue=queue, exchange=FANOUT), Queue.BindOk)
                if queue != "transient":
                    self.model.bound.add(queue)

    def declare(self, queue: str) -> None:
        arguments = dict(ARGUMENTS.get(queue, {}))
        if queue in DEAD_LETTER_QUEUES:
            arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD_LETTER_QUEUES[queue]}
        method = Queue.Declare(queue=queue, durable=queue != "transient", arguments=arguments)
        if queue in self.model.declared:
            method = Queue.Declare(queue=queue, passive=True)
        self.call(method, Queue.DeclareOk, lambda: self.world.queues.add(queue))
        if queue != "transient":
            self.model.declared.add(queue)

    def act(self) -> None:
        if self.chance.random() < 0.5:
            queue = self.chance.choice(CONSUMED)
            if queue in self.world.queues:
                self.call(Queue.Purge(queue=queue), Queue.PurgeOk, lambda: self._on_purged(queue))
        elif SCRATCH in self.world.queues:
            self.model.declared.discard(SCRATCH)
            emptied: list[Copy] = []
            self.call(Queue.Delete(queue=SCRATCH), Queue.DeleteOk, lambda: self._on_deleted(emptied))
            self.model.on_deleted(emptied)
        else:
            self.declare(SCRATCH)

    def _on_purged(self, queue: str) -> None:
        self.model.on_emptied(queue)

    def _on_deleted(self, emptied: list[Copy]) -> None:
        self.world.queues.discard(SCRATCH)
        emptied += self.model.on_emptied(SCRATCH)


class Auditor(ModelledClient):
    """Reads all queues, settles nothing, and goes."""

    def audit(self) -> tuple[dict[str, list[Copy]], set[Copy]]:
        """Return what is in the queues, and which of it may have waited because it had come back."""
        self.waited: set[Copy] = set()
        self.found: dict[str, list[Copy]] = {queue: [] for queue in CONSUMED if queue in self.world.queues}
        recovered = [name for name in self.world.recovered if name in self.broker.vhost.queues]
        self.found |= {self.world.recovered[name]: [] for name in recovered}
        for queue in [*(queue for queue in CONSUMED if queue in self.world.queues), *recovered]:
            self.call(Basic.Consume(queue=queue, consumer_tag=queue), Basic.ConsumeOk)
        self._read()
        self.world.pass_time(REDELIVERY_DELAY_MS)
        self._read()
        return self.found, self.waited

    def _read(self) -> None:
        while self.run_turn() or self.network.sent:
            self.receive(len(self.network.sent))

    def on_delivery(self, method: Any, body: bytes) -> None:
        queue = self.world.recovered.get(method.consumer_tag, method.consumer_tag)
        copy = self.on_delivered(queue, method, body, audit=True)
        self.found[queue].append(copy)
        if queue == AGAIN and self.delivery_count() > 0:
            self.waited.add(copy)
