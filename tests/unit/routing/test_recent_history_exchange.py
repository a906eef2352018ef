from dataclasses import dataclass

import pytest

from broker.routing.exchange import Binding, Exchange
from broker.routing.exchange_type import InvalidDefinitionError
from broker.routing.message_view import MessageView
from broker.routing.recent_history import LENGTH_MAX, SIZE_MAX_BYTES, RecentHistoryExchangeType
from protocol.amqp.field_table import Longlong, Short, UnsignedLong
from tests.support.messages import published


@dataclass(eq=False)
class Queue:
    name: str
    durable: bool = True
    gate: int = 0


def exchange_of(**arguments: object) -> Exchange:
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    return Exchange("x", RecentHistoryExchangeType(named))


def publish(exchange: Exchange, body: bytes, **headers: object) -> list[object]:
    return list(exchange.type.route(("k",), MessageView(published(body, headers=headers))))


def past(exchange: Exchange) -> list[bytes]:
    binding = Binding(exchange, Queue("late"), "")
    return [message.body for message in exchange.type.past_messages(binding)]


def test_it_is_a_fanout_exchange() -> None:
    exchange, one, two = exchange_of(), Queue("1"), Queue("2")
    for queue in (one, two):
        exchange.bind(Binding(exchange, queue, "whatever"))
    assert publish(exchange, b"") == [one, two]


@pytest.mark.parametrize(
    ("arguments", "count"), [({}, 20), ({"x_recent_history_length": 3}, 3), ({"x_recent_history_length": 1}, 1)]
)
def test_the_last_messages_are_kept_in_their_order(arguments: dict[str, object], count: int) -> None:
    exchange = exchange_of(**arguments)
    bodies = [str(number).encode() for number in range(50)]
    for body in bodies:
        publish(exchange, body)
    assert past(exchange) == bodies[-count:]


def test_messages_can_ask_not_to_be_kept() -> None:
    exchange = exchange_of()
    publish(exchange, b"1", **{"x-recent-history-no-store": True})
    publish(exchange, b"2", **{"x-recent-history-no-store": False})
    publish(exchange, b"3", **{"x-recent-history-no-store": "true"})
    assert past(exchange) == [b"2", b"3"]


def test_a_kept_message_is_what_was_published() -> None:
    exchange = exchange_of()
    message = published(b"body", "source", "k", {"a": 1}, delivery_mode=2)
    exchange.type.route(("k", "cc"), MessageView(message))
    (kept,) = exchange.type.past_messages(Binding(exchange, Queue("late"), ""))
    assert kept.routing_keys == ("k", "cc")
    assert (kept.address, kept.header, kept.body) == (message.address, message.header, message.body)
    assert kept.persistent


def test_the_size_of_a_history_is_bounded() -> None:
    exchange = exchange_of(x_recent_history_length=100)
    third = bytes(SIZE_MAX_BYTES // 3)
    for _ in range(5):
        publish(exchange, third)
    assert len(past(exchange)) == 2
    publish(exchange, bytes(SIZE_MAX_BYTES))
    assert past(exchange) == []
    publish(exchange, b"small")
    assert past(exchange) == [b"small"]


@pytest.mark.parametrize("length", [1, Short(5), Longlong(5), LENGTH_MAX])
def test_valid_lengths(length: int) -> None:
    exchange_of(x_recent_history_length=length)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "Invalid argument 0, 'x-recent-history-length' must be a positive integer"),
        (-1, "Invalid argument -1, 'x-recent-history-length' must be a positive integer"),
        (UnsignedLong(5), "Invalid argument 5, 'x-recent-history-length' must be a positive integer"),
        ("5", "Invalid argument <<\"5\">>, 'x-recent-history-length' must be a positive integer"),
        (True, "Invalid argument true, 'x-recent-history-length' must be a positive integer"),
        (None, "Invalid argument undefined, 'x-recent-history-length' must be a positive integer"),
        (LENGTH_MAX + 1, f"Invalid argument 10001, 'x-recent-history-length' must not exceed {LENGTH_MAX}"),
    ],
)
def test_invalid_lengths(length: object, text: str) -> None:
    with pytest.raises(InvalidDefinitionError) as refused:
        exchange_of(x_recent_history_length=length)
    assert str(refused.value) == text
