"""Whatever happens to queues, through sessions and down to the journal: it is what a model of lists says.

Three durable queues, whose dead letters go from each to the next and from the last to the first.
"""

import shutil
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pamqp import constants, header
from pamqp.commands import Basic, Confirm, Queue

from broker import clock
from broker.policy import validate_policy
from broker.queueing.ready import PagedMessage
from tests.support.in_process import InProcessBroker
from tests.support.paged import read_back, read_back_all
from tests.support.queue_model import Entry, ModelBroker, ModelMessage, ModelQueue
from tests.support.raw_client import Frame

MEMORY = Path("/dev/shm")
NAMES = ["q", "dead", "grave"]
TICK_MS = 100
TICKS = st.sampled_from([1, 1, 2, 3, 5])
LARGE_SIZE_BYTES = 20_000
"""Three of these fill a segment of the journal, so that segments are sealed, checkpointed and reclaimed."""

TTL_MS = st.sampled_from([0, 100, 200, 500])
DELIVERY = {
    "redelivery-delay": st.sampled_from([100, 200]),
    "delivery-limit": st.sampled_from([1, 2]),
    "max-priority": st.sampled_from([1, 3]),
    "group-header": st.just("key"),
    "delayed": st.just(True),
}
LIMITS = {
    "max-length": st.sampled_from([0, 1, 2, 4]),
    "max-length-bytes": st.sampled_from([10, 30]),
    "overflow": st.sampled_from(["drop-head", "reject-publish", "reject-publish-dlx"]),
}
POLICIES = st.fixed_dictionaries({}, optional={"message-ttl": TTL_MS, **DELIVERY, **LIMITS}).filter(bool)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "message-ttl": TTL_MS,
        **DELIVERY,
        **LIMITS,
        "redelivery-delay-multiplier": st.just(2),
        "single-active-consumer": st.just(True),
        "deduplication": st.just(True),
        "deduplication-window": st.just(300),
    },
)
DEAD_ARGUMENTS = st.fixed_dictionaries({}, optional={"message-ttl": TTL_MS, **LIMITS, "deduplication": st.just(True)})


class Machine(RuleBasedStateMachine):
    message_memory_bytes = sys.maxsize

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.broker = InProcessBroker(self.directory, message_memory_bytes=self.message_memory_bytes)
        self.model = ModelBroker(clock.now_ms())
        self.number = 0
        self.confirmed = 0
        self.consumers: list[str] = []
        self.unacked: dict[int, tuple[ModelQueue, Entry, str]] = {}
        self.no_ack = False
        self.prefetch_count = 1

    def teardown(self) -> None:
        self.broker.crash()
        clock.stand_still(0)
        shutil.rmtree(self.directory)

    @initialize(
        arguments=ARGUMENTS,
        dead_arguments=DEAD_ARGUMENTS,
        grave_arguments=DEAD_ARGUMENTS,
        dead_letters=st.sampled_from([0, 1, 2, 3]),
        no_ack=st.booleans(),
        prefetch_count=st.sampled_from([1, 2, 5]),
    )
    def declare(
        self,
        arguments: dict[str, Any],
        dead_arguments: dict[str, Any],
        grave_arguments: dict[str, Any],
        dead_letters: int,
        no_ack: bool,
        prefetch_count: int,
    ) -> None:
        self.no_ack, self.prefetch_count = no_ack, prefetch_count
        self.connect()
        given = (arguments, dead_arguments, grave_arguments)
        for index, (name, its) in enumerate(zip(NAMES, given, strict=True)):
            receives = 0 < index <= dead_letters or (index == 0 and dead_letters == len(NAMES))
            full = {f"x-{key}": value for key, value in self.lasting(its, receives).items()}
            if index < dead_letters:
                full["x-dead-letter-exchange"] = ""
                full["x-dead-letter-routing-key"] = NAMES[(index + 1) % len(NAMES)]
            self.channel.declare_queue(name, durable=True, arguments=full)
            self.model.queues[name] = ModelQueue(name, self.broker.vhost.queues[name].settings, self.model)
        self.q = self.model.queues["q"]

    def connect(self) -> None:
        self.client = self.broker.connect()
        self.channel = self.client.channel(1)
        self.channel.call(Confirm.Select())
        self.channel.call(Basic.Qos(prefetch_count=self.prefetch_count))
        self.consumers.clear()
        self.unacked.clear()
        self.confirmed = 0

    def lasting(self, definition: dict[str, Any], receives_dead_letters: bool = False) -> dict[str, Any]:
        """Return settings that this machine can have."""
        return definition

    # What comes from the broker

    def observe(self) -> list[Frame]:
        """Let everything be done on both sides; compare the deliveries and return the other frames."""
        self.broker.settle()
        self.model.settle()
        frames = []
        while self.client.transport.sent:
            frames.append(self.client.receive_frame())
            while self.client._buffer:
                frames.append(self.client.receive_frame())
        others = []
        delivered = iter(self.model.delivered)
        index = 0
        while index < len(frames):
            arrived = frames[index]
            if arrived.type == constants.FRAME_METHOD and isinstance(arrived.method, Basic.Deliver):
                queue, entry = next(delivered, (self.q, None))
                assert entry is not None, f"delivered too much: {frames[index + 2].payload!r}"
                self.compare(entry, arrived.method, *frames[index + 1 : index + 3])
                tag = arrived.method.consumer_tag
                assert tag in (self.consumers[:1] if queue.settings.single_active_consumer else self.consumers)
                if not self.no_ack:
                    self.unacked[arrived.method.delivery_tag] = queue, entry, tag
                    assert self.taken(tag) <= self.prefetch_count
                index += 3
            else:
                others.append(arrived)
                index += 1
        left = [entry.message.body for _, entry in delivered]
        assert not left, f"not delivered: {left}"
        self.model.delivered.clear()
        return others

    def compare(self, entry: Entry, method: Any, head: Frame, body: Frame) -> None:
        assert body.payload == entry.message.body
        assert method.redelivered == entry.redelivered, entry
        content = header.ContentHeader()
        content.unmarshal(head.payload)
        headers = content.properties.headers or {}
        deaths = [(death["queue"], death["reason"], death["count"]) for death in headers.get("x-death", [])]
        assert deaths == entry.message.deaths
        counts = self.broker.vhost.queues[self.queue_of(entry)].settings.counts_deliveries
        if counts and entry.redelivered:
            assert headers.get("x-delivery-count", 0) == entry.returns

    def queue_of(self, entry: Entry) -> str:
        return next((name for name, queue in self.model.queues.items() if entry in queue.unacked), "q")

    def taken(self, tag: str) -> int:
        return sum(consumer == tag for _, _, consumer in self.unacked.values())

    def count_credit(self) -> None:
        """Tell the model what the consumers can take."""
        serving = self.consumers[:1] if self.q.settings.single_active_consumer else self.consumers
        if self.no_ack:
            self.q.credit = -1 if serving else 0
        else:
            self.q.credit = sum(self.prefetch_count - self.taken(tag) for tag in serving)

    # Publishing

    @rule(
        queue=st.sampled_from(["q", "q", "q", "dead", "grave"]),
        copy_to=st.sampled_from([None, None, None, "dead"]),
        persistent=st.booleans(),
        priority=st.sampled_from([None, 1, 2, 9]),
        expiration=st.sampled_from([None, None, None, 0, 100, 300]),
        delay=st.sampled_from([0, 0, 100, 300]),
        message_id=st.sampled_from([None, None, "a", "b"]),
        group=st.sampled_from([None, "k", "l"]),
        large=st.sampled_from([False] * 9 + [True]),
        times=st.sampled_from([1, 1, 2, 3]),
    )
    def publish(
        self,
        queue: str,
        copy_to: str | None,
        persistent: bool,
        priority: int | None,
        expiration: int | None,
        delay: int,
        message_id: str | None,
        group: str | None,
        large: bool,
        times: int,
    ) -> None:
        if expiration is not None:
            expiration = self.lasting({"message-ttl": expiration})["message-ttl"]
        headers: dict[str, Any] = {}
        keys = [queue]
        if copy_to is not None and copy_to != queue:
            keys.append(copy_to)
            headers["CC"] = [copy_to]
        if delay:
            headers["x-delay"] = delay
        if group is not None:
            headers["key"] = group
        rejected = set()
        for number in range(self.confirmed + 1, self.confirmed + 1 + times):
            self.number += 1
            body = struct.pack(">I", self.number) + bytes(LARGE_SIZE_BYTES if large else self.number % 7)
            message = ModelMessage(body, persistent, keys, priority, expiration, delay, message_id, group)
            properties = Basic.Properties(
                delivery_mode=2 if persistent else 1,
                priority=priority,
                expiration=None if expiration is None else str(expiration),
                message_id=message_id,
                headers=headers,
            )
            self.channel.publish(body, queue, properties=properties)
            self.count_credit_of_delivered()
            if self.model.publish(message, [self.model.queues[key] for key in keys]):
                rejected.add(number)
        answers = self.observe()
        nacked = set()
        for answer in answers:
            method = answer.method
            assert isinstance(method, Basic.Ack | Basic.Nack)
            assert method.multiple or method.delivery_tag == self.confirmed + 1
            assert method.delivery_tag > self.confirmed
            if isinstance(method, Basic.Nack):
                nacked |= set(range(self.confirmed + 1, method.delivery_tag + 1))
            self.confirmed = method.delivery_tag
        assert nacked == rejected
        self.published = number
        assert self.confirmed == number

    def count_credit_of_delivered(self) -> None:
        """Take from the credit what the model has handed out already in this step."""
        self.count_credit()
        if self.q.credit > 0:
            self.q.credit -= len(self.model.delivered)

    # Taking

    @rule(name=st.sampled_from(NAMES), no_ack=st.booleans())
    def get(self, name: str, no_ack: bool) -> None:
        queue = self.model.queues[name]
        if queue.settings.single_active_consumer:
            return
        self.count_credit()
        queue.expire()
        expected = queue.head()
        self.channel.send(Basic.Get(queue=name, no_ack=no_ack))
        if expected is not None:
            queue.take(expected, no_ack=no_ack)
        ready = len(queue.ready)
        answers = self.observe()
        if expected is None:
            assert isinstance(answers[0].method, Basic.GetEmpty)
            return
        got: Any = answers[0].method
        assert isinstance(got, Basic.GetOk)
        assert got.message_count == ready
        if not no_ack:
            self.unacked[got.delivery_tag] = queue, expected, ""
        self.compare(expected, got, *answers[1:])

    @precondition(lambda self: len(self.consumers) < 2)
    @rule()
    def consume(self) -> None:
        tag = f"c{self.number}-{len(self.consumers)}-{self.confirmed}"
        while tag in self.consumers or self.taken(tag):
            tag += "+"
        self.consumers.append(tag)
        self.channel.send(Basic.Consume(queue="q", consumer_tag=tag, no_ack=self.no_ack))
        self.count_credit()
        self.q.wake()
        assert isinstance(self.observe()[0].method, Basic.ConsumeOk)

    @precondition(lambda self: self.consumers)
    @rule(index=st.integers(0, 1))
    def cancel(self, index: int) -> None:
        tag = self.consumers.pop(index % len(self.consumers))
        self.channel.send(Basic.Cancel(consumer_tag=tag))
        self.count_credit()
        if self.q.settings.single_active_consumer:
            self.q.wake()
        assert isinstance(self.observe()[0].method, Basic.CancelOk)

    # Settling

    @precondition(lambda self: self.unacked)
    @rule(
        index=st.integers(0, 10),
        multiple=st.sampled_from([False, False, True]),
        how=st.sampled_from(["ack", "reject", "requeue", "requeue"]),
    )
    def settle(self, index: int, multiple: bool, how: str) -> None:
        tag = sorted(self.unacked)[index % len(self.unacked)]
        if how == "ack":
            self.channel.send(Basic.Ack(delivery_tag=tag, multiple=multiple))
        else:
            self.channel.send(Basic.Nack(delivery_tag=tag, multiple=multiple, requeue=how == "requeue"))
        self.settle_model([held for held in sorted(self.unacked) if held == tag or (multiple and held < tag)], how)
        assert self.observe() == []

    def settle_model(self, tags: list[int], how: str, together: bool = False) -> None:
        queues: list[ModelQueue] = []
        for tag in tags:
            queue, entry, _ = self.unacked.pop(tag)
            if queues and queue is not queues[-1] and not together:
                self.count_credit_of_delivered()
                queues[-1].wake()
            queue.settle(entry, how)
            queues.append(queue)
        for queue in dict.fromkeys(queues) if together else queues[-1:]:
            self.count_credit_of_delivered()
            queue.wake()

    @rule()
    def recover(self) -> None:
        self.channel.send(Basic.Recover(requeue=True))
        self.settle_model(sorted(self.unacked), "requeue", together=True)
        assert isinstance(self.observe()[0].method, Basic.RecoverOk)

    # Time, settings, and the end

    @rule(ticks=TICKS)
    def pass_time(self, ticks: int) -> None:
        for _ in range(ticks):
            self.count_credit()
            self.broker.pass_clock(TICK_MS)
            self.model.now = clock.now_ms()
            assert self.observe() == []

    @rule(definition=POLICIES)
    def put_policy(self, definition: dict[str, Any]) -> None:
        # Of what is paged out the queue learns priority, time and group when it is read: docs/operations.md says so.
        read_back(self.broker.vhost, self.broker.vhost.queues["q"])
        self.broker.vhost.put_policy(validate_policy("p", "^q$", self.lasting(definition)))
        self.apply()

    @rule()
    def delete_policy(self) -> None:
        self.broker.vhost.delete_policy("p")
        self.apply()

    def apply(self) -> None:
        self.count_credit()
        self.q.apply(self.broker.vhost.queues["q"].settings)
        assert self.observe() == []

    @rule(name=st.sampled_from(NAMES))
    def purge(self, name: str) -> None:
        self.channel.send(Queue.Purge(queue=name))
        count = self.model.queues[name].purge()
        answer: Any = self.observe()[0].method
        assert isinstance(answer, Queue.PurgeOk)
        assert answer.message_count == count

    @rule()
    def crash(self) -> None:
        self.broker.crash()
        self.restart(clean=False)

    @rule()
    def stop(self) -> None:
        self.consumers.clear()
        self.count_credit()
        self.settle_model(sorted(self.unacked), "requeue", together=True)
        self.model.settle()
        assert self.model.delivered == []
        self.broker.stop()
        self.restart(clean=True)

    def restart(self, *, clean: bool) -> None:
        self.broker.start()
        # What leaves a queue that is paged out leaves it a little later, and may meet others in another order.
        read_back_all(self.broker.vhost)
        for name, queue in self.model.queues.items():
            # Positions that only messages had that are gone may be given out again, and begin anew.
            real = self.broker.vhost.queues[name]
            queue.next_position = real.peek_next_position()
            kept = [entry for entry in queue.ready + queue.waiting + queue.unacked if entry.message.persistent]
            positions = [entry.position for entry in kept]
            delivered = [entry.position for entry in kept if entry.redelivered or entry in queue.unacked]
            assert real.log is not None
            if kept and not clean:
                # Nobody knows what was delivered in the last moments.
                assert real.log.delivered_position == queue.next_position - 1
            else:
                assert max(delivered, default=0) <= real.log.delivered_position <= queue.delivered_position
            queue.delivered_position = real.log.delivered_position
            assert max(positions, default=0) < queue.next_position, f"{name}: {positions} of {queue.next_position}"
        self.model.restart()
        self.model.settle()
        self.connect()

    # What always holds

    @invariant()
    def everything_is_where_the_model_has_it(self) -> None:
        vhost = self.broker.vhost
        paged_volatile = 0
        for name, model in self.model.queues.items():
            queue = vhost.queues[name]
            ready = sorted(model.ready, key=lambda entry: entry.position)
            waiting = sorted(model.waiting, key=lambda entry: entry.position)
            there = queue.entries(0, 1 << 20)
            in_wait = queue.waiting_entries(0, 1 << 20)
            paged = {entry[0] for entry in (*there, *in_wait) if isinstance(entry[1], PagedMessage)}
            shown_there = [shown(entry) for entry in there]
            expected = [expectation(entry, paged) for entry in ready]
            assert shown_there == expected, f"{name}: {shown_there}, not {expected}"
            assert [(*shown(entry), entry[3]) for entry in in_wait] == [
                (*expectation(entry, paged), entry.not_before) for entry in waiting
            ]
            assert queue.paged_count() == len(paged)
            paged_volatile += sum(
                entry.position in paged and not entry.message.persistent for entry in (*ready, *waiting)
            )
            assert (queue.ready_count(), queue.ready_bytes()) == (len(ready), model.size())
            assert queue.unacked_count == len(model.unacked)
            for entry in ready + model.waiting + model.unacked:
                assert queue.delivery_count(entry.position) == entry.returns
        assert len(vhost.transfers) == 0
        assert vhost.journal.unit_depth == 0
        assert vhost.journal.journal.live_record_count == self.model.persistent_count() + paged_volatile
        assert vhost.budget.used_bytes == sum(queue.memory_bytes() for queue in vhost.queues.values())
        assert self.broker.errors == []


def expectation(entry: Entry, paged: set[int]) -> tuple[int, str, bool]:
    return entry.position, short(entry.message.body, entry.position in paged), entry.redelivered


def short(body: bytes, paged: bool) -> str:
    return f"{len(body)} octets paged out" if paged else f"{struct.unpack_from('>I', body)[0]} of {len(body)} octets"


def shown(entry: Any) -> tuple[int, str, bool]:
    position, message, redelivered = entry[:3]
    if isinstance(message, PagedMessage):
        return position, f"{message.body_size} octets paged out", redelivered
    return position, short(message.body, False), redelivered


class PagingMachine(Machine):
    """The same, with room for about two messages in memory.

    Without policies that come and go: what is paged out learns of them when it is read (docs/operations.md). And where
    messages can expire into a queue, without a limit there: what expires stays in its queue until it has been read, and
    whether another finds room beside it is then a matter of who is read first. So it is with the order of what arrives
    in one moment with different priorities.
    """

    message_memory_bytes = 600
    put_policy = None
    delete_policy = None

    def lasting(self, definition: dict[str, Any], receives_dead_letters: bool = False) -> dict[str, Any]:
        """What expires in the moment in which it could be delivered does so while it is being read: not in that one."""
        its = dict(definition)
        if "message-ttl" in its:
            its["message-ttl"] += TICK_MS // 2
        without = set(LIMITS) if receives_dead_letters else set()
        if "delayed" in its or "redelivery-delay" in its:
            without.add("max-priority")
        return {key: value for key, value in its.items() if key not in without}


def case_of(machine: type[Machine], max_examples: int) -> Any:
    case = machine.TestCase
    case.settings = settings(
        max_examples=max_examples,
        stateful_step_count=40,
        print_blob=True,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],
    )
    return pytest.mark.timeout(120)(case)


TestQueueModel = case_of(Machine, 200)
TestPagedQueueModel = case_of(PagingMachine, 200)
