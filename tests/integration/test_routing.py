"""Which queues an exchange reaches, by type and through other exchanges."""

from collections.abc import Iterator
from typing import Any

import pytest
from pamqp.commands import Basic, Exchange, Queue

from tests.support.raw_client import RawChannel


@pytest.fixture
def exchange(channel: RawChannel, names: Iterator[str], request: pytest.FixtureRequest) -> str:
    name = next(names)
    channel.call(Exchange.Declare(exchange=name, exchange_type=request.param, auto_delete=True))
    return name


def test_the_default_exchange_reaches_a_queue_by_its_name(channel: RawChannel, queue: str) -> None:
    channel.publish(b"direct", queue)
    channel.publish(b"nowhere", f"{queue}-not")
    assert channel.bodies(queue) == [b"direct"]


@pytest.mark.parametrize("exchange", ["direct"], indirect=True)
def test_a_direct_exchange_compares_keys(channel: RawChannel, exchange: str) -> None:
    first, second = channel.declare_queue(exclusive=True), channel.declare_queue(exclusive=True)
    for queue, key in ((first, "a"), (second, "a"), (second, "b"), (second, "")):
        channel.bind(queue, exchange, key)
    for key in ("a", "b", "", "A", "a.b"):
        channel.publish(key.encode(), key, exchange)
    assert channel.bodies(first) == [b"a"]
    assert channel.bodies(second) == [b"a", b"b", b""]


@pytest.mark.parametrize("exchange", ["fanout"], indirect=True)
def test_a_fanout_exchange_reaches_every_queue_once(channel: RawChannel, exchange: str) -> None:
    queues = [channel.declare_queue(exclusive=True) for _ in range(3)]
    for queue in queues:
        channel.bind(queue, exchange, "ignored")
        channel.bind(queue, exchange, "ignored too")
    channel.publish(b"all", "whatever", exchange)
    assert [channel.bodies(queue) for queue in queues] == [[b"all"]] * 3


TOPICS = {
    "a.b": ["a.b"],
    "a.*": ["a.b", "a."],
    "*.b": ["a.b", ".b"],
    "*": ["a", "b"],
    "#": ["", "a", "b", "a.b", "a.b.c", "a.", ".b", "a.x.y.c"],
    "a.#": ["a", "a.b", "a.b.c", "a.", "a.x.y.c"],
    "#.c": ["a.b.c", "a.x.y.c"],
    "a.#.c": ["a.b.c", "a.x.y.c"],
    "a.*.#": ["a.b", "a.b.c", "a.", "a.x.y.c"],
    "*.*": ["a.b", "a.", ".b"],
    "": [""],
    "a*": [],
}
TOPIC_KEYS = ["", "a", "b", "a.b", "a.b.c", "a.", ".b", "a.x.y.c"]


@pytest.mark.parametrize("exchange", ["topic"], indirect=True)
def test_a_topic_exchange_matches_words(channel: RawChannel, exchange: str) -> None:
    queues = {}
    for binding_key in TOPICS:
        queues[binding_key] = channel.declare_queue(exclusive=True)
        channel.bind(queues[binding_key], exchange, binding_key or "nothing")
    channel.call(Queue.Unbind(queue=queues[""], exchange=exchange, routing_key="nothing"))
    channel.bind(queues[""], exchange, "")
    for key in TOPIC_KEYS:
        channel.publish(key.encode(), key, exchange)
    reached = {binding_key: [body.decode() for body in channel.bodies(queue)] for binding_key, queue in queues.items()}
    assert reached == TOPICS


HEADERS: list[tuple[dict[str, Any], dict[str, Any] | None, bool]] = [
    ({"x-match": "all", "a": 1, "b": "two"}, {"a": 1, "b": "two", "c": 3}, True),
    ({"x-match": "all", "a": 1, "b": "two"}, {"a": 1}, False),
    ({"a": 1}, {"a": 1}, True),
    ({"a": 1}, {"a": 2}, False),
    ({"a": 1}, {"a": 100000, "b": 1}, False),
    ({"a": 1}, {"a": "1"}, False),
    ({"a": None}, {"a": "anything"}, True),
    ({"a": None}, {"b": 1}, False),
    ({}, {"a": 1}, True),
    ({}, None, True),
    ({"a": 1}, None, False),
    ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
    ({"x-match": "any", "a": 1, "b": 2}, {"b": 1}, False),
    ({"x-match": "any"}, {"a": 1}, False),
    ({"x-match": "all", "x-a": 1}, {"b": 1}, True),
    ({"x-match": "any", "x-a": 1}, {"x-a": 1}, False),
    ({"x-match": "all-with-x", "x-a": 1}, {"x-a": 1}, True),
    ({"x-match": "all-with-x", "x-a": 1}, {"x-a": 2}, False),
    ({"x-match": "any-with-x", "x-a": 1, "b": 1}, {"x-a": 1}, True),
    ({"a": True}, {"a": True}, True),
    ({"a": True}, {"a": False}, False),
]


@pytest.mark.parametrize("exchange", ["headers"], indirect=True)
@pytest.mark.parametrize(("arguments", "headers", "matches"), HEADERS)
def test_a_headers_exchange_compares_headers(
    channel: RawChannel,
    exchange: str,
    queue: str,
    arguments: dict[str, Any],
    headers: dict[str, Any] | None,
    matches: bool,
) -> None:
    channel.bind(queue, exchange, "", arguments)
    channel.publish(b"found", "ignored", exchange, Basic.Properties(headers=headers))
    assert channel.bodies(queue) == ([b"found"] if matches else [])


def test_exchanges_are_bound_to_exchanges(channel: RawChannel, names: Iterator[str], queue: str) -> None:
    source, middle = next(names), next(names)
    channel.call(Exchange.Declare(exchange=source, exchange_type="topic", auto_delete=True))
    channel.call(Exchange.Declare(exchange=middle, exchange_type="direct", auto_delete=True))
    channel.call(Exchange.Bind(destination=middle, source=source, routing_key="a.#"))
    channel.bind(queue, middle, "a.b")
    channel.bind(queue, source, "*.b")
    for key in ("a.b", "a.c", "x.b", "x.c"):
        channel.publish(key.encode(), key, source)
    assert channel.bodies(queue) == [b"a.b", b"x.b"]
    channel.call(Exchange.Unbind(destination=middle, source=source, routing_key="a.#"))
    channel.unbind(queue, source, "*.b")


def test_a_circle_of_exchanges_ends(channel: RawChannel, names: Iterator[str], queue: str) -> None:
    circle = [next(names) for _ in range(3)]
    for exchange in circle:
        channel.call(Exchange.Declare(exchange=exchange, exchange_type="fanout"))
    for source, destination in zip(circle, circle[1:] + circle[:1], strict=True):
        channel.call(Exchange.Bind(destination=destination, source=source))
    channel.bind(queue, circle[2])
    channel.publish(b"around", "", circle[0])
    assert channel.bodies(queue) == [b"around"]
    for exchange in circle:
        channel.call(Exchange.Delete(exchange=exchange))


def test_an_internal_exchange_takes_from_exchanges_only(channel: RawChannel, name: str, queue: str) -> None:
    channel.call(Exchange.Declare(exchange=name, exchange_type="fanout", internal=True, auto_delete=True))
    channel.bind(queue, name)
    channel.call(Exchange.Bind(destination=name, source="amq.direct", routing_key=name))
    channel.publish(b"through", name, "amq.direct")
    assert channel.bodies(queue) == [b"through"]
    channel.publish(b"refused", "", name)
    text = f"ACCESS_REFUSED - cannot publish to internal exchange '{name}' in vhost '/'"
    channel.expect_channel_close(403, text, Basic.Publish)


def test_the_route_follows_the_bindings_at_once(channel: RawChannel, name: str, queue: str) -> None:
    for number in range(3):
        channel.publish(b"unbound", name, "amq.topic")
        channel.bind(queue, "amq.topic", name)
        channel.publish(str(number).encode(), name, "amq.topic")
        channel.unbind(queue, "amq.topic", name)
    assert channel.bodies(queue) == [b"0", b"1", b"2"]
