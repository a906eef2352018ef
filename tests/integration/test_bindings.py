"""Binding and unbinding queues and exchanges: what is refused, and in which order it is checked."""

from collections.abc import Iterator

import pytest
from pamqp.base import Frame as Method
from pamqp.commands import Exchange, Queue

from tests.conftest import Connect
from tests.support.raw_client import RawChannel

DEFAULT_EXCHANGE = "ACCESS_REFUSED - operation not permitted on the default exchange"


def no_exchange(name: str) -> str:
    return f"NOT_FOUND - no exchange '{name}' in vhost '/'"


@pytest.mark.parametrize(
    "method",
    [
        Queue.Bind(queue="nowhere", exchange="", routing_key="k"),
        Queue.Unbind(queue="nowhere", exchange="", routing_key="k"),
        Exchange.Bind(destination="amq.direct", source=""),
        Exchange.Bind(destination="", source="amq.direct"),
        Exchange.Unbind(destination="amq.direct", source=""),
        Exchange.Unbind(destination="", source="amq.direct"),
    ],
)
def test_the_default_exchange_takes_no_bindings(channel: RawChannel, method: Method) -> None:
    channel.refused(method, 403, DEFAULT_EXCHANGE)


def test_a_missing_exchange_is_named_before_a_missing_queue(channel: RawChannel, name: str) -> None:
    channel = channel.refused(Queue.Bind(queue=name, exchange=name), 404, no_exchange(name))
    text = f"NOT_FOUND - no queue '{name}' in vhost '/'"
    channel.refused(Queue.Bind(queue=name, exchange="amq.direct"), 404, text)


def test_a_missing_source_is_named_before_a_missing_destination(channel: RawChannel, names: Iterator[str]) -> None:
    source, destination = next(names), next(names)
    channel = channel.refused(Exchange.Bind(destination=destination, source=source), 404, no_exchange(source))
    channel.refused(Exchange.Bind(destination=destination, source="amq.fanout"), 404, no_exchange(destination))


def test_unbinding_what_is_not_bound_is_no_error(channel: RawChannel, name: str, queue: str) -> None:
    channel.unbind(queue, "amq.direct", "never")
    channel.unbind(queue, name, "k")
    channel.unbind(name, "amq.direct", "k")
    channel.call(Exchange.Unbind(destination=name, source=name, routing_key="k"))


def test_a_binding_made_twice_is_one_binding(channel: RawChannel, name: str, queue: str) -> None:
    for _ in range(2):
        channel.bind(queue, "amq.direct", name)
    channel.publish(b"once", name, "amq.direct")
    channel.unbind(queue, "amq.direct", name)
    channel.publish(b"never", name, "amq.direct")
    assert channel.bodies(queue) == [b"once"]


def test_bindings_differ_by_their_arguments(channel: RawChannel, name: str, queue: str) -> None:
    channel.bind(queue, "amq.direct", name, {"x-one": 1, "x-two": "2"})
    channel.bind(queue, "amq.direct", name, {"x-one": 2})
    channel.unbind(queue, "amq.direct", name, {"x-one": 2})
    channel.publish(b"first", name, "amq.direct")
    channel.unbind(queue, "amq.direct", name, {"x-two": "2", "x-one": 1})
    channel.publish(b"second", name, "amq.direct")
    assert channel.bodies(queue) == [b"first"]


def test_without_a_queue_name_the_last_declared_one_is_bound(channel: RawChannel, names: Iterator[str]) -> None:
    queue, key = next(names), next(names)
    channel.declare_queue(queue, exclusive=True)
    channel.call(Queue.Bind(queue="", exchange="amq.direct", routing_key=key))
    channel.call(Queue.Bind(queue="", exchange="amq.direct", routing_key=""))
    for routing_key in (key, queue, ""):
        channel.publish(routing_key.encode(), routing_key, "amq.direct")
    assert channel.bodies(queue) == [key.encode(), queue.encode()]
    channel.call(Queue.Unbind(queue="", exchange="amq.direct", routing_key=""))
    channel.publish(b"unbound", queue, "amq.direct")
    assert channel.bodies(queue) == []


@pytest.mark.parametrize("method", [Queue.Bind(exchange="amq.direct"), Queue.Unbind(exchange="amq.direct")])
def test_without_a_queue_name_and_a_declared_queue(channel: RawChannel, method: Method) -> None:
    channel.refused(method, 404, "NOT_FOUND - no previously declared queue")


def test_the_queue_of_another_connection_is_locked(connect: Connect, channel: RawChannel, queue: str) -> None:
    other = connect().open().channel(1)
    text = f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'."
    other.refused(Queue.Bind(queue=queue, exchange="amq.fanout"), 405, text, starts_with=True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"x-match": "zork"},
            'Invalid x-match field value <<"zork">>; expected all, any, all-with-x, or any-with-x',
        ),
        ({"x-match": 1}, "Invalid x-match field type byte (value 1); expected longstr"),
    ],
)
def test_a_headers_exchange_knows_its_ways_to_match(
    channel: RawChannel, queue: str, arguments: dict[str, object], text: str
) -> None:
    method = Queue.Bind(queue=queue, exchange="amq.headers", arguments=arguments)  # type: ignore[arg-type]
    channel.refused(method, 406, f"PRECONDITION_FAILED - {text}")


@pytest.mark.since_rabbitmq_4
def test_a_topic_binding_has_two_hashes_at_most(channel: RawChannel, queue: str) -> None:
    channel.bind(queue, "amq.topic", "#.a.#")
    text = "PRECONDITION_FAILED - Topic binding key '#.a.#.b.#' uses 3 '#' wildcards, at most 2 are allowed"
    channel.refused(Queue.Bind(queue=queue, exchange="amq.topic", routing_key="#.a.#.b.#"), 406, text)


def test_nothing_is_answered_to_nowait(channel: RawChannel, name: str, queue: str) -> None:
    channel.send(Queue.Bind(queue=queue, exchange="amq.direct", routing_key=name, nowait=True))
    channel.send(Exchange.Declare(exchange=name, auto_delete=True, nowait=True))
    channel.send(Exchange.Bind(destination=name, source="amq.direct", routing_key=name, nowait=True))
    channel.expect_silence()
    channel.publish(b"bound", name, "amq.direct")
    assert channel.bodies(queue) == [b"bound"]
    channel.send(Exchange.Unbind(destination=name, source="amq.direct", routing_key=name, nowait=True))
    channel.send(Exchange.Delete(exchange=name, nowait=True))
    channel.expect_silence()
