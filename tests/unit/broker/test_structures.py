"""The structures of the hot path against simple models."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.durability.queue_log import decode_publish, decode_settle
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.queueing.ready import ReadyMessages
from broker.session.confirms import Confirms
from broker.session.unacked import UnackedDeliveries
from broker.turn import Turn


def message(number: int) -> Message:
    return Message(b"\x00\x01q", b"header", str(number).encode(), False)


@given(st.lists(st.sampled_from(["push", "pop", "restore"]), max_size=200), st.randoms())
def test_ready_messages_come_in_the_order_of_their_positions(steps: list[str], random: object) -> None:
    ready, model, taken, position = ReadyMessages(), {}, {}, 0
    for step in steps:
        if step == "push":
            position += 1
            ready.push(message(position), position, False)
            model[position] = False
        elif step == "restore" and taken:
            back = random.choice(sorted(taken))
            ready.place(taken.pop(back), back, True)
            model[back] = True
        elif step == "pop":
            popped = ready.pop()
            if not model:
                assert popped is None
                continue
            first = min(model)
            assert popped[1:] == (first, model.pop(first))
            taken[first] = popped[0]
        assert len(ready) == len(model)


@given(st.lists(st.integers(0, 300), max_size=300))
def test_unacked_deliveries_are_found_by_their_tags(steps: list[int]) -> None:
    queue = Queue("q", durable=False, auto_delete=False, exclusive_owner=None, arguments={}, log=None, turn=Turn(print))
    unacked, model, tag = UnackedDeliveries(), {}, 0
    for step in steps:
        if step % 3:
            tag += 1 + step % 5
            unacked.push(tag, message(tag), tag * 10, queue, None)
            model[tag] = tag * 10
        else:
            popped = unacked.pop(step)
            assert (popped is not None) == (step in model)
            if popped is not None:
                assert unacked.position == model.pop(step)
        assert unacked.tags() == sorted(model)
        assert unacked.count == len(model)


@pytest.mark.parametrize("seed", range(20))
def test_unacked_deliveries_stay_in_order_while_they_grow(seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    queue = Queue("q", durable=False, auto_delete=False, exclusive_owner=None, arguments={}, log=None, turn=Turn(print))
    unacked = UnackedDeliveries()
    model: dict[int, int] = {}
    tag = 0
    for _ in range(12):
        # The oldest ones go, so that the ring begins anywhere, and then more come than it holds.
        for gone in sorted(model)[: chance.randrange(len(model) + 1)]:
            unacked.pop(gone)
            assert unacked.position == model.pop(gone)
        for _ in range(chance.randrange(2 * len(model) + 40)):
            tag += 1
            unacked.push(tag, message(tag), tag * 10, queue, None)
            model[tag] = tag * 10
        held = []
        for taken in chance.sample(sorted(model), len(model) // 4):
            found = unacked.pop(taken)
            assert found is not None
            held.append((taken, found, unacked.position, unacked.queue, unacked.consumer))
        unacked.restore(sorted(held, key=lambda entry: entry[0]))
        assert unacked.tags() == sorted(model)
        assert unacked.count == len(model)
    for left in list(model):
        assert unacked.pop(left) is not None
        assert unacked.position == model[left]
    assert unacked.count == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=100))
def test_confirms_come_in_order_and_cover_what_is_durable(steps: list[tuple[bool, int]]) -> None:
    confirms, batch, durable, waits = Confirms(), 1, 0, []
    for publish, number in steps:
        if publish:
            needed = batch if number else 0
            confirms.publish(needed)
            waits.append(needed)
            batch += number == 3
        else:
            durable = max(durable, batch - 1 if number else durable)
            batch = max(batch, durable + 1)
            confirms.durable(durable)
        expected = next((at for at, needed in enumerate(waits) if needed > durable), len(waits))
        # One that waits for nothing goes with the one before it, so it may be held back, and is never early.
        assert confirms.due <= expected
        if not confirms.waits():
            assert confirms.due == len(waits)


def test_journal_records_decode() -> None:
    publish = (
        bytes.fromhex("01000000 07000000 0900000000000000 0300") + b"\x00\x01q" + bytes.fromhex("02000000") + b"hhbody"
    )
    queues, decoded = decode_publish(publish)
    assert queues == [(7, 9)]
    assert (decoded.address, decoded.header, decoded.body) == (b"\x00\x01q", b"hh", b"body")
    settle = bytes.fromhex("07000000 0500000000000000 0100000000000000 0400000000000000")
    assert decode_settle(settle) == (7, 5, [(1, 4)])
