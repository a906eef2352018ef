from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import pytest

from broker.routing.exchange import Binding, Exchange
from broker.routing.exchange_type import InvalidDefinitionError
from broker.routing.headers import HeadersExchangeType
from broker.routing.message_view import ANY_MESSAGE, MessageView
from protocol.amqp.field_table import Timestamp
from tests.support.messages import published

NOON = Timestamp(1767268800)


@dataclass(eq=False)
class Queue:
    name: str
    durable: bool = True
    gate: int = 0


def is_routed(arguments: Mapping[str, object], headers: Mapping[str, object]) -> bool:
    exchange, queue = Exchange("h", HeadersExchangeType({})), Queue("q")
    exchange.bind(Binding(exchange, queue, "", arguments))
    return list(exchange.type.route(("ignored",), MessageView(published(headers=headers)))) == [queue]


@pytest.mark.parametrize(
    ("arguments", "headers", "expected"),
    [
        # Without x-match it is "all"; a binding that asks for nothing gets everything.
        ({}, {}, True),
        ({}, {"a": 1}, True),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"x-match": "all"}, {}, True),
        ({"x-match": "all", "a": 1}, {"a": 1}, True),
        ({"x-match": "all", "a": 1}, {"a": 2}, False),
        ({"x-match": "all", "a": 1}, {}, False),
        # "any" that asks for nothing gets nothing.
        ({"x-match": "any"}, {}, False),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "any", "a": 1, "b": 2}, {"a": 2, "b": 1}, False),
        ({"x-match": "any", "a": 1, "b": None}, {"b": "whatever"}, True),
        ({"x-match": "any", "a": 1, "b": None}, {"a": 1}, True),
        ({"x-match": "any", "a": 1, "b": None}, {"a": 2}, False),
        # Names that begin with x- do not count ...
        ({"x-match": "all", "x-a": 1}, {}, True),
        ({"x-match": "any", "x-a": 1}, {"x-a": 1}, False),
        ({"x-match": "any", "x-a": 1, "b": 2}, {"x-a": 1}, False),
        ({"x-match": "all", "x-a": 1, "b": 2}, {"b": 2}, True),
        # ... but with -with-x they do, except for x-match itself.
        ({"x-match": "all-with-x"}, {}, True),
        ({"x-match": "all-with-x", "x-a": 1}, {}, False),
        ({"x-match": "all-with-x", "x-a": 1}, {"x-a": 1}, True),
        ({"x-match": "any-with-x", "x-a": 1, "b": 2}, {"x-a": 1}, True),
        ({"x-match": "any-with-x"}, {"x-match": "any-with-x"}, False),
        ({"x-match": "any-with-x", "x-a": None}, {"x-a": 7}, True),
        # No value asks only whether the header is there.
        ({"a": None}, {"a": 1}, True),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {"b": 1}, False),
        ({"a": 1}, {"a": None}, False),
        ({"a": ""}, {"a": None}, False),
        # Names are exact.
        ({"a": 1}, {"A": 1}, False),
        # Kinds of values.
        ({"a": "1"}, {"a": 1}, False),
        ({"a": "v"}, {"a": b"v"}, True),
        ({"a": b"\xff"}, {"a": "\udcff"}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1.5}, {"a": 1.5}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": False}, {"a": 0}, False),
        ({"a": True}, {"a": True}, True),
        ({"a": 2**40}, {"a": 2**40}, True),
        ({"a": Decimal("1.0")}, {"a": Decimal("1.0")}, True),
        ({"a": Decimal("1.0")}, {"a": Decimal("1.00")}, False),
        ({"a": Decimal(1)}, {"a": 1}, False),
        ({"a": NOON}, {"a": NOON}, True),
        ({"a": NOON}, {"a": int(NOON)}, False),
        ({"a": [1, "b"]}, {"a": [1, "b"]}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [1]}, {"a": [True]}, False),
        ({"a": ["v"]}, {"a": [b"v"]}, False),
        ({"a": {"b": [None]}}, {"a": {"b": [None]}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}, False),
    ],
)
def test_what_is_routed(arguments: dict[str, object], headers: dict[str, object], expected: bool) -> None:
    assert is_routed(arguments, headers) is expected


@pytest.mark.parametrize(
    ("match", "text"),
    [
        ("none", 'Invalid x-match field value <<"none">>; expected all, any, all-with-x, or any-with-x'),
        ("ALL", 'Invalid x-match field value <<"ALL">>; expected all, any, all-with-x, or any-with-x'),
        ('a"\\', 'Invalid x-match field value <<"a\\"\\\\">>; expected all, any, all-with-x, or any-with-x'),
        ("\x01", "Invalid x-match field value <<1>>; expected all, any, all-with-x, or any-with-x"),
        (5, "Invalid x-match field type signedint (value 5); expected longstr"),
        (True, "Invalid x-match field type bool (value true); expected longstr"),
        (None, "Invalid x-match field type void (value undefined); expected longstr"),
        ([1, "a"], 'Invalid x-match field type array (value [{signedint,1},{longstr,<<"a">>}]); expected longstr'),
        ({"a": 2**31}, 'Invalid x-match field type table (value [{<<"a">>,long,2147483648}]); expected longstr'),
    ],
)
def test_an_invalid_x_match_is_refused_in_rabbitmqs_words(match: object, text: str) -> None:
    exchange = Exchange("h", HeadersExchangeType({}))
    with pytest.raises(InvalidDefinitionError) as refused:
        exchange.bind(Binding(exchange, Queue("q"), "", {"x-match": match}))
    assert str(refused.value) == text
    assert not exchange.bindings


def test_headers_are_not_asked_for_where_nothing_is_bound() -> None:
    exchange, queue = Exchange("h", HeadersExchangeType({})), Queue("q")
    assert not exchange.type.route(("",), ANY_MESSAGE)
    binding = Binding(exchange, queue, "", {"a": 1})
    exchange.bind(binding)
    assert list(exchange.type.route(("",), MessageView(published(headers={"a": 1})))) == [queue]
    exchange.unbind(binding)
    assert not exchange.type.route(("",), ANY_MESSAGE)
