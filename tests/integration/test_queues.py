"""Declaring queues: names, kinds, equivalence and exclusivity."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pamqp.base import Frame as Method
from pamqp.commands import Basic, Queue

from tests.conftest import Connect
from tests.support.raw_client import RawChannel

LOCKED = (
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{}' in vhost '/'. It could be originally"
    " declared on another connection or the exclusive property value does not match that of the original declaration."
)


def no_queue(name: str) -> str:
    return f"NOT_FOUND - no queue '{name}' in vhost '/'"


def locked(name: str) -> str:
    text = LOCKED.format(name)
    return text if len(text) <= 255 else text[:252] + "..."


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"durable": True},
        {"exclusive": True},
        {"auto_delete": True},
        {"durable": True, "auto_delete": True},
        {"exclusive": True, "auto_delete": True},
    ],
)
def test_queues_of_every_kind_can_be_declared_again(channel: RawChannel, name: str, flags: dict[str, bool]) -> None:
    for _ in range(2):
        answer = channel.call(Queue.Declare(queue=name, **flags))
        assert (answer.queue, answer.message_count, answer.consumer_count) == (name, 0, 0)
    assert channel.counts(name) == (0, 0)
    channel.delete_queue(name)


def test_declare_ok_counts_ready_messages_and_consumers(channel: RawChannel, queue: str) -> None:
    for _ in range(3):
        channel.publish(b"m", queue)
    channel.expect_silence()
    assert channel.get(queue, no_ack=False) is not None
    assert channel.counts(queue) == (2, 0)
    other = channel.client.channel(2)
    other.call(Basic.Qos(prefetch_count=1))
    for _ in range(2):
        other.consume(queue)
    other.deliver_many(2)
    assert channel.counts(queue) == (0, 2)


def test_the_broker_makes_up_names(channel: RawChannel) -> None:
    made_up = {channel.declare_queue(exclusive=True) for _ in range(20)}
    assert len(made_up) == 20
    assert all(re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", name) for name in made_up)


@pytest.mark.parametrize("queue", ["amq.zork", "amq."])
def test_reserved_names_are_refused(channel: RawChannel, queue: str) -> None:
    text = f"ACCESS_REFUSED - queue name '{queue}' contains reserved prefix 'amq.*'"
    channel.refused(Queue.Declare(queue=queue), 403, text)


def test_a_made_up_name_is_reserved_too(channel: RawChannel) -> None:
    queue = channel.declare_queue(exclusive=True)
    channel.call(Queue.Declare(queue=queue, passive=True))
    text = f"ACCESS_REFUSED - queue name '{queue}' contains reserved prefix 'amq.*'"
    channel.refused(Queue.Declare(queue=queue, exclusive=True), 403, text)


@pytest.mark.parametrize("queue", [None, ""])
def test_a_passive_declaration_of_an_unknown_queue(
    channel: RawChannel, names: Iterator[str], queue: str | None
) -> None:
    channel.declare_queue(next(names), exclusive=True)
    name = next(names) if queue is None else queue
    channel.refused(Queue.Declare(queue=name, passive=True), 404, no_queue(name))


def test_a_passive_declaration_looks_at_the_name_only(channel: RawChannel, queue: str) -> None:
    channel.call(Queue.Declare(queue=queue, passive=True, durable=True, arguments={"x-message-ttl": "zork"}))


def test_the_longest_name_is_taken_and_a_long_text_is_cut(channel: RawChannel) -> None:
    name = "n" * 255
    method = Queue.Declare(queue="", passive=True)
    method.queue, method.validate = name, lambda: None  # type: ignore[method-assign]
    channel.refused(method, 404, f"NOT_FOUND - no queue '{name}"[:252] + "...")


@pytest.mark.parametrize("name_bytes", ["grün", "队列", "a b\tc", "x\u2028y", "'", "%s{}"])
def test_names_may_hold_any_character(channel: RawChannel, name: str, name_bytes: str) -> None:
    method = Queue.Declare(queue="", exclusive=True)
    method.queue, method.validate = name + name_bytes, lambda: None  # type: ignore[method-assign]
    assert channel.call(method).queue == name + name_bytes
    channel.publish(b"found", name + name_bytes)
    get = Basic.Get(no_ack=True)
    get.queue, get.validate = name + name_bytes, lambda: None  # type: ignore[method-assign]
    channel.send(get)
    assert channel.receive_message(Basic.GetOk).body == b"found"


@pytest.mark.parametrize(
    ("current", "received", "text"),
    [
        ({}, {"durable": True}, "'durable' for {}: received 'true' but current is 'false'"),
        ({"durable": True}, {}, "'durable' for {}: received 'false' but current is 'true'"),
        ({}, {"auto_delete": True}, "'auto_delete' for {}: received 'true' but current is 'false'"),
        ({"auto_delete": True}, {}, "'auto_delete' for {}: received 'false' but current is 'true'"),
        (
            {},
            {"durable": True, "auto_delete": True, "arguments": {"x-expires": 60000}},
            "'durable' for {}: received 'true' but current is 'false'",
        ),
    ],
)
def test_an_inequivalent_declaration_is_refused(
    channel: RawChannel, name: str, current: dict[str, Any], received: dict[str, Any], text: str
) -> None:
    channel.declare_queue(name, **current)
    reason = text.format(f"queue '{name}' in vhost '/'")
    method = Queue.Declare(queue=name, **received)
    channel.refused(method, 406, f"PRECONDITION_FAILED - inequivalent arg {reason}").delete_queue(name)


def test_an_exclusive_queue_is_not_durable(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, durable=True)
    channel.declare_queue(name, exclusive=True, durable=False)


@pytest.mark.parametrize("exclusive", [True, False])
def test_exclusive_is_compared_first(channel: RawChannel, name: str, exclusive: bool) -> None:
    channel.declare_queue(name, exclusive=exclusive)
    method = Queue.Declare(queue=name, exclusive=not exclusive, auto_delete=True)
    channel.refused(method, 405, locked(name)).delete_queue(name)


@pytest.mark.parametrize(
    "method",
    [
        Queue.Declare(exclusive=True),
        Queue.Declare(),
        Queue.Declare(passive=True),
        Queue.Bind(exchange="amq.fanout"),
        Queue.Purge(),
        Queue.Delete(),
        Basic.Get(),
        Basic.Consume(),
    ],
    ids=lambda method: method.name,
)
def test_an_exclusive_queue_is_locked_for_other_connections(connect: Connect, queue: str, method: Method) -> None:
    other = connect().open().channel(1)
    method.queue = queue  # type: ignore[attr-defined]
    other.refused(method, 405, locked(queue))


def test_other_connections_may_publish_to_an_exclusive_queue(connect: Connect, channel: RawChannel, queue: str) -> None:
    other = connect().open().channel(1)
    other.publish(b"from outside", queue)
    other.expect_silence()
    channel.consume(queue, no_ack=True)
    assert channel.deliver().body == b"from outside"


def test_every_channel_of_the_connection_may_use_an_exclusive_queue(channel: RawChannel, queue: str) -> None:
    other = channel.client.channel(2)
    other.declare_queue(queue, exclusive=True)
    other.publish(b"m", queue)
    assert other.bodies(queue) == [b"m"]


@pytest.mark.parametrize("clean", [True, False])
def test_an_exclusive_queue_goes_with_its_connection(
    connect: Connect, channel: RawChannel, name: str, clean: bool
) -> None:
    owner = connect().open()
    owner.channel(1).declare_queue(name, exclusive=True)
    if clean:
        owner.close()
        channel.refused(Queue.Declare(queue=name, passive=True), 404, no_queue(name))
        return
    owner.channel(1 + 1).consume(name)
    owner.socket.close()
    # Nobody is told when the broker has seen the end; until then the queue is locked.
    for _ in range(1000):
        channel.send(Queue.Declare(queue=name, passive=True))
        code = channel.expect_any_channel_close()
        channel = channel.client.channel(1)
        if code == 404:
            return
    raise AssertionError(f"{name} is still locked")


def test_an_exclusive_queue_outlives_its_channel(channel: RawChannel, queue: str) -> None:
    other = channel.client.channel(2)
    name = other.declare_queue(exclusive=True)
    other.close()
    assert channel.counts(name) == (0, 0)


def test_the_last_declared_queue_needs_no_name(channel: RawChannel, names: Iterator[str]) -> None:
    first, last = next(names), next(names)
    channel.declare_queue(last, exclusive=True)
    channel.declare_queue(first, exclusive=True)
    channel.declare_queue(last, passive=True)
    channel.publish(b"one", last)
    channel.publish(b"two", last)
    channel.publish(b"three", last)
    channel.expect_silence()
    message = channel.get("")
    assert message is not None
    assert message.body == b"one"
    channel.call(Basic.Consume(queue="", consumer_tag="mine"))
    channel.call(Basic.Cancel("mine"))
    channel.deliver_many(2)
    channel.call(Basic.Recover(requeue=True))
    assert channel.call(Queue.Purge(queue="")).message_count == 2
    assert channel.delete_queue("") == 0
    channel.refused(Queue.Declare(queue=last, passive=True), 404, no_queue(last))


@pytest.mark.parametrize(
    "method", [Queue.Purge(), Queue.Delete(), Basic.Get(), Basic.Consume()], ids=lambda method: method.name
)
def test_without_a_declared_queue_a_name_is_needed(channel: RawChannel, method: Method) -> None:
    channel.refused(method, 404, "NOT_FOUND - no previously declared queue")


def test_nothing_is_answered_to_nowait(channel: RawChannel, name: str) -> None:
    channel.send(Queue.Declare(queue=name, exclusive=True, nowait=True))
    channel.send(Queue.Declare(queue=name, exclusive=True, nowait=True))
    channel.send(Queue.Declare(queue=name, passive=True, nowait=True))
    channel.expect_silence()
    channel.publish(b"m", name)
    channel.send(Queue.Purge(queue=name, nowait=True))
    channel.expect_silence()
    assert channel.counts(name) == (0, 0)
    channel.send(Queue.Delete(queue=name, nowait=True))
    channel.expect_silence()
    channel.refused(Queue.Declare(queue=name, passive=True), 404, no_queue(name))
