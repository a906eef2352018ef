"""The structures that queues are made of against simple models."""

import gc
import random
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import header as pamqp_header
from pamqp.commands import Basic

from broker.queueing.backlog import TIMES_GONE_MAX, Backlog
from broker.queueing.consumer import Consumer, DeliveryTarget
from broker.queueing.consumer_list import ConsumerList
from broker.queueing.deduplication import Deduplicator
from broker.queueing.due_heap import DueHeap
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.queueing.ready import ReadyMessages
from broker.queueing.relay import Relay
from broker.turn import Turn
from protocol.amqp import header_fields
from tests.support.messages import published
from tests.support.raw_client import header_payload

NUMBERS = st.integers(0, 40)


def message_of(**properties: Any) -> Message:
    plain = published(b"body", **properties)
    traits = header_fields.find_traits(plain.header)
    return Message(plain.address, plain.header, plain.body, False, traits, published_at_ms=1)


READY_STEPS = st.lists(
    st.tuples(st.sampled_from(["push", "push", "place", "pop", "pop", "discard", "discard", "entries"]), NUMBERS),
    max_size=200,
)


@given(READY_STEPS)
def test_ready_messages_are_taken_in_order_and_removed_from_anywhere(steps: list[tuple[str, int]]) -> None:
    ready, position = ReadyMessages(), 100
    model: dict[int, tuple[Message, bool]] = {}
    out: dict[int, Message] = {}
    for step, number in steps:
        if step == "push":
            position += 1 + number % 3
            model[position] = message_of(), bool(number % 2)
            ready.push(model[position][0], position, model[position][1])
        elif step == "place" and out:
            back = sorted(out)[number % len(out)]
            model[back] = out.pop(back), bool(number % 2)
            ready.place(model[back][0], back, model[back][1])
        elif step == "pop":
            popped = ready.pop()
            if not model:
                assert popped is None
                continue
            first = min(model)
            message, redelivered = model.pop(first)
            assert popped == (message, first, redelivered)
            out[first] = message
        elif step == "discard":
            at = sorted(model)[number % len(model)] if model and number % 4 else 100 + number
            expected = model.pop(at, None)
            assert ready.discard(at) is (expected and expected[0])
            if expected is not None:
                out[at] = expected[0]
                assert (ready.taken_position, ready.taken_redelivered) == (at, expected[1])
        elif step == "entries":
            entries = [(at, *model[at]) for at in sorted(model) if at >= 100 + number]
            assert ready.entries(100 + number, 5) == entries[:5]
        assert len(ready) == len(model)


def test_a_message_that_was_removed_and_comes_back_is_there_once() -> None:
    """Others before it in the heap keep what was removed from going at once."""
    ready = ReadyMessages()
    ready.push(message_of(), 9, False)
    for position in (1, 5):
        ready.place(message_of(), position, False)
    for redelivered in (True, False, True):
        message = ready.discard(5)
        assert message is not None
        ready.place(message, 5, redelivered)
        assert [(at, again) for at, _, again in ready.entries(0, 9)] == [(1, False), (5, redelivered), (9, False)]
    assert [popped[1:] for popped in iter(ready.pop, None)] == [(1, False), (5, True), (9, False)]


def test_many_removed_messages_take_no_room_for_long() -> None:
    chance = random.Random(1)
    ready = ReadyMessages()
    for position in range(1, 10_001):
        ready.push(message_of(), position, False)
    returned = {position: ready.pop() for position in range(1, 5_001)}
    for position, popped in returned.items():
        assert popped is not None
        ready.place(popped[0], position, True)
    removed = set(chance.sample(range(1, 10_001), 9_000))
    for position in removed:
        assert ready.discard(position) is not None
    left = [position for position in range(1, 10_001) if position not in removed]
    assert [entry[0] for entry in ready.entries(0, 10_000)] == left
    assert [popped[1:] for popped in iter(ready.pop, None)] == [(at, at <= 5_000) for at in left]


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(1, 20), st.integers(1, 99))), max_size=100))
def test_what_is_due_first_comes_first(steps: list[tuple[int, int] | None]) -> None:
    heap, model = DueHeap(), []
    for step in steps:
        if step is None:
            assert heap.take() == (min(model) if model else None)
            if model:
                model.remove(min(model))
        else:
            heap.add(*step)
            model.append(step)
        assert len(heap) == len(model)
        assert heap.due_positions(10, 5) == [position for due_ms, position in sorted(model) if due_ms <= 10][:5]


class BacklogModel:
    """What is ready and what waits, by position: with the message, its level, its expiry, and when it arrives."""

    def __init__(self) -> None:
        self.ready: dict[int, tuple[Message, int, int]] = {}
        self.waiting: dict[int, tuple[Message, int, int, int]] = {}

    def first(self) -> int | None:
        return min(self.ready, key=lambda at: (-self.ready[at][1], at), default=None)

    def expired(self, now: int) -> list[int]:
        everything = {at: held[2] for at, held in (self.ready | self.waiting).items() if held[2] <= now}
        return sorted(everything, key=lambda at: (everything[at], at))


STEP = st.tuples(
    st.sampled_from(["offer", "offer", "delay", "take", "back", "remove", "expire", "arrive"]),
    st.integers(0, 3),
    st.sampled_from([None, 0, 5, 20]),
    NUMBERS,
)


@given(st.sampled_from([-1, 0, 10]), st.integers(0, 2), st.lists(STEP, max_size=80))
def test_a_backlog_knows_priorities_and_times(
    ttl_ms: int, max_priority: int, steps: list[tuple[str, int, int | None, int]]
) -> None:
    backlog = Backlog(max_priority=max_priority, message_ttl_ms=ttl_ms, delayed=False, group_header=None)
    model = BacklogModel()
    out: dict[int, tuple[Message, int, int]] = {}
    position = now = 1
    for step, priority, expiration, number in steps:
        lifetimes = [time for time in (expiration, None if ttl_ms < 0 else ttl_ms) if time is not None]
        held = (
            message_of(priority=priority, expiration=None if expiration is None else str(expiration)),
            min(priority, max_priority),
            1 + min(lifetimes) if lifetimes else 1 << 62,
        )
        if step == "offer":
            backlog.offer(held[0], position, False)
            model.ready[position] = held
        elif step == "delay":
            backlog.delay(held[0], position, False, now + number)
            model.waiting[position] = (*held, now + number)
        elif step == "take":
            first = model.first()
            taken = backlog.take_first(False)
            assert taken is (None if first is None else model.ready[first][0])
            if first is not None:
                assert backlog.taken_position == first
                out[first] = model.ready.pop(first)
        elif step == "back" and out:
            at = sorted(out)[number % len(out)]
            model.ready[at] = out.pop(at)
            backlog.offer(model.ready[at][0], at, True)
        elif step == "remove":
            gone = model.ready.pop(number, None) or model.waiting.pop(number, None)
            assert backlog.remove(number) is (None if gone is None else gone[0])
        elif step == "expire":
            now += number % 4
            for at in model.expired(now):
                gone = model.ready.pop(at, None) or model.waiting.pop(at)
                assert backlog.take_expired(now, True) is gone[0]
            assert backlog.take_expired(now, True) is None
        elif step == "arrive":
            due = [at for at, waiting in model.waiting.items() if waiting[3] <= now]
            for at in sorted(due, key=lambda at: (model.waiting[at][3], at)):
                assert backlog.release_arrival(now)
                model.ready[at] = model.waiting.pop(at)[:3]
            assert not backlog.release_arrival(now)
        position += 1
        assert backlog.count == len(model.ready)
        assert backlog.size_bytes == 4 * len(model.ready)
        assert [entry[0] for entry in backlog.entries(0, 100)] == sorted(model.ready)
        waiting = [(entry[0], entry[3]) for entry in backlog.waiting.everything()]
        assert waiting == [(at, model.waiting[at][3]) for at in sorted(model.waiting)]


@given(
    st.lists(st.tuples(st.sampled_from(["offer", "take", "settle", "back", "remove", "head"]), NUMBERS), max_size=100)
)
def test_of_a_group_one_message_is_under_way_and_none_is_left_behind(steps: list[tuple[str, int]]) -> None:
    backlog = Backlog(max_priority=0, message_ttl_ms=-1, delayed=False, group_header="key")
    keys = [None, "a", "b"]
    messages = [message_of(headers=None if key is None else {"key": key}) for key in keys]
    there: dict[int, str | None] = {}
    out: dict[int, str | None] = {}
    position = 0
    for step, number in steps:
        if step == "offer":
            position += 1
            there[position] = keys[number % 3]
            backlog.offer(messages[number % 3], position, False)
        elif step == "take":
            allowed = {at for at, key in there.items() if key is None or key not in out.values()}
            taken = backlog.take_first(False)
            assert (taken is None) == (not allowed)
            if taken is not None:
                assert backlog.taken_position in allowed
                out[backlog.taken_position] = there.pop(backlog.taken_position)
        elif step in ("settle", "back") and out:
            at = sorted(out)[number % len(out)]
            key = out.pop(at)
            message = messages[keys.index(key)]
            if step == "back":
                there[at] = key
                backlog.offer(message, at, True)
            backlog.settled(message, at)
        elif step == "remove":
            removed = backlog.remove(number)
            assert (removed is None) == (number not in there)
            there.pop(number, None)
        elif step == "head":
            # A limit holds for what waits for its group too.
            assert (backlog.take_head(True) is None) == (not there)
            there.pop(backlog.taken_position, None)
        assert backlog.count == len(there)
        assert [entry[0] for entry in backlog.entries(0, 100)] == sorted(there)


def test_times_of_messages_that_are_gone_are_forgotten() -> None:
    backlog = Backlog(max_priority=0, message_ttl_ms=10**9, delayed=False, group_header=None)
    for position in range(1, 5 * TIMES_GONE_MAX):
        if position % 2:
            backlog.delay(message_of(), position, False, 10**9)
        else:
            backlog.offer(message_of(), position, False)
        assert backlog.remove(position) is not None
        assert len(backlog.expiries) <= TIMES_GONE_MAX + 3


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 20)), max_size=60), st.integers(1, 4))
def test_a_key_is_a_duplicate_within_its_window(steps: list[tuple[str, int]], count_max: int) -> None:
    deduplicator = Deduplicator(window_ms=30, count_max=count_max)
    model: OrderedDict[str, int] = OrderedDict()
    now = 0
    for key, passed in steps:
        now += passed
        message = message_of(message_id=key)
        duplicate = key in model and model[key] + 30 > now
        assert deduplicator.is_duplicate(message, now) == duplicate
        if not duplicate:
            deduplicator.remember(message, now)
            model.pop(key, None)
            model[key] = now
            while len(model) > count_max:
                model.popitem(last=False)
        assert len(deduplicator) <= len(model)


def has_credit(consumer: Consumer) -> bool:
    return not consumer.prefetch_count or consumer.unacked_count < consumer.prefetch_count


def consumer_of(queue: Queue, target: DeliveryTarget, priority: int, prefetch_count: int) -> Consumer:
    arguments = {"x-priority": priority}
    return Consumer(
        target, queue, "c", no_ack=False, exclusive=False, prefetch_count=prefetch_count, arguments=arguments
    )


@given(
    st.booleans(),
    st.sampled_from([[0], [0, 0, 1], [-1, 0, 2]]),
    st.lists(
        st.tuples(st.sampled_from(["add", "add", "remove", "take", "next", "next", "next"]), NUMBERS), max_size=60
    ),
)
def test_consumers_take_turns_by_rank(single: bool, priorities: list[int], steps: list[tuple[str, int]]) -> None:
    everybody = ConsumerList()
    everybody.set_single(single)
    consumers: list[Consumer] = []
    target = Relay(lambda *_: None)
    queue = Queue("q", durable=False, auto_delete=False, exclusive_owner=None, arguments={}, log=None, turn=Turn(print))
    active: Consumer | None = None
    for step, number in steps:
        if step == "add":
            consumers.append(consumer_of(queue, target, priorities[number % len(priorities)], number % 2))
            everybody.add(consumers[-1])
            active = active or (consumers[0] if single else None)
        elif step == "remove" and consumers:
            gone = consumers.pop(number % len(consumers))
            changed = everybody.remove(gone)
            if single and gone is active:
                best = max((consumer.priority for consumer in consumers), default=0)
                active = next((one for one in everybody.consumers if one.priority == best), None)
                assert changed == (active is not None)
            else:
                assert not changed
        elif step == "take" and consumers:
            consumers[number % len(consumers)].unacked_count ^= 1
        elif step == "next":
            able = [one for one in ([active] if single else consumers) if one is not None and has_credit(one)]
            best = max((one.priority for one in able), default=0)
            chosen = everybody.next_with_credit()
            assert (chosen is None) == (not able)
            assert chosen is None or chosen in [one for one in able if one.priority == best]
        ranks = [consumer.priority for consumer in everybody.consumers]
        assert ranks == sorted(ranks, reverse=True)
        assert set(everybody.consumers) == set(consumers)
        assert everybody.active is active


@pytest.mark.parametrize("priority", [0, 1])
def test_equal_consumers_take_turns(priority: int) -> None:
    everybody = ConsumerList()
    target = Relay(lambda *_: None)
    queue = Queue("q", durable=False, auto_delete=False, exclusive_owner=None, arguments={}, log=None, turn=Turn(print))
    consumers = [consumer_of(queue, target, priority, 0) for _ in range(3)]
    for consumer in consumers:
        everybody.add(consumer)
    assert [everybody.next_with_credit() for _ in range(6)] == 2 * consumers


@given(
    st.dictionaries(
        st.sampled_from(["a", "bb", "CC", "BCC", "x-haypile-keys", "x-delay"]),
        st.one_of(st.booleans(), st.integers(-(2**40), 2**40), st.text(max_size=9), st.lists(st.text(max_size=3))),
        max_size=4,
    ),
    st.one_of(st.none(), st.integers(0, 255)),
    st.one_of(st.none(), st.integers(0, 10**9)),
    st.one_of(st.none(), st.text(max_size=20)),
)
def test_fields_are_found_as_another_codec_has_them(
    headers: dict[str, Any], priority: int | None, expiration: int | None, message_id: str | None
) -> None:
    properties = Basic.Properties(
        headers=headers or None,
        priority=priority,
        expiration=None if expiration is None else str(expiration),
        message_id=message_id,
        content_type="text/plain",
    )
    head = header_payload(3, properties)
    assert header_fields.priority_of(head) == (-1 if priority is None else priority)
    assert header_fields.expiration_of(head) == (-1 if expiration is None else expiration)
    assert (header_fields.message_id_of(head) or b"").decode() == (message_id or "")
    assert set(header_fields.split_fields(head)) == {name.encode() for name in headers}
    for name in headers:
        assert header_fields.find_field(head, name.encode()) == header_fields.split_fields(head)[name.encode()]
    assert header_fields.find_field(head, b"missing") is None
    traits = header_fields.find_traits(head)
    assert bool(traits & header_fields.TRAIT_EXPIRES) == (expiration is not None)
    assert bool(traits & header_fields.TRAIT_ROUTED) == bool({"CC", "BCC"} & set(headers))
    hidden = {name for name in headers if name == "BCC" or name.startswith("x-haypile-")}
    assert bool(traits & header_fields.TRAIT_HIDDEN) == bool(hidden)
    seen = pamqp_header.ContentHeader()
    seen.unmarshal(header_fields.visible(head))
    assert (seen.properties.headers or {}) == {name: value for name, value in headers.items() if name not in hidden}
    added = header_fields.replace_fields(head, header_fields.split_fields(head) | {b"n": b"l" + bytes(7) + b"\x01"})
    seen.unmarshal(added)
    assert seen.properties.headers == {**headers, "n": 1}
    assert (seen.properties.priority, seen.properties.content_type) == (priority, "text/plain")


def test_a_message_is_nothing_for_the_garbage_collector() -> None:
    message = Message(b"\0\0", b"", b"", True)
    assert not gc.is_tracked(message)
    del message
    # Those that are gone are used again, with nothing left in them.
    again = Message(b"\0\0", b"", b"new", False)
    assert (again.body, again.persistent, again.traits, again.share_units) == (b"new", False, 0, 0)
