"""Redeclarations: which values are the same, and how those are named that are not, as RabbitMQ's own code answered."""

import struct
from decimal import Decimal
from typing import Any

import pytest

from broker.equivalence import check_argument
from protocol.amqp.errors import ChannelException
from protocol.amqp.field_table import ByteString, Float, Longlong, Octet, Timestamp

RESOURCE = "queue 'q' in vhost '/'"
SMALL_FLOAT = Float(struct.unpack(">f", struct.pack(">f", 0.1))[0])


def refusal(received: dict[str, Any], current: dict[str, Any], key: str = "x-key") -> str:
    with pytest.raises(ChannelException) as refused:
        check_argument(key, RESOURCE, received, current)
    prefix = f"PRECONDITION_FAILED - inequivalent arg '{key}' for {RESOURCE}: "
    assert refused.value.reply_text.startswith(prefix)
    return refused.value.reply_text.removeprefix(prefix)


@pytest.mark.parametrize(
    ("received", "current"),
    [
        (1, 1),
        (1, Longlong(1)),
        (Octet(1), Timestamp(1)),
        (1.0, Float(1.0)),
        (0.0, -0.0),
        (True, True),
        (None, None),
        ("text", b"text"),
        (b"\xff", ByteString(b"\xff")),
        (Decimal("1.0"), Decimal("1.0")),
        ({}, []),
        ({"a": [1, "b"]}, {"a": [1, "b"]}),
    ],
)
def test_the_same_values_are_equivalent(received: Any, current: Any) -> None:
    check_argument("x-key", RESOURCE, {"x-key": received}, {"x-key": current})
    check_argument("x-key", RESOURCE, {"x-key": current}, {"x-key": received})


@pytest.mark.parametrize(
    ("received", "current", "text"),
    [
        (1, 2, "received '1' but current is '2'"),
        (1, 1.0, "received '1' but current is '1.0'"),
        (1e22, SMALL_FLOAT, "received '1.0e22' but current is '0.10000000149011612'"),
        (True, 1, "received 'true' but current is '1'"),
        (True, "true", "received 'true' but current is 'true'"),
        (False, True, "received 'false' but current is 'true'"),
        (None, 0, "received none but current is '0'"),
        ("a", b"b", "received 'a' but current is 'b'"),
        (ByteString(b"\xe9"), "é\n", "received 'é' but current is 'é\n'"),
        # RabbitMQ takes a decimal for a value with its type here, and fails to print it.
        (Decimal("1.0"), Decimal("1.00"), "received '{1,10}' but current is '{2,100}'"),
        (Decimal(1), 1, "received '{0,1}' but current is '1'"),
        (
            {"a": b"b\n", "c": None},
            ["d", 1.0],
            r"""received '[{<<"a">>,binary,<<"b\n">>},{<<"c">>,void,undefined}]' """
            """but current is '[{longstr,<<"d">>},{double,1.0}]'""",
        ),
        ([1], [Octet(1)], "received '[{signedint,1}]' but current is '[{unsignedbyte,1}]'"),
        (["a"], [b"a"], """received '[{longstr,<<"a">>}]' but current is '[{binary,<<"a">>}]'"""),
        (
            {"a": 1, "b": 2},
            {"b": 2, "a": 1},
            """received '[{<<"a">>,signedint,1},{<<"b">>,signedint,2}]' """
            """but current is '[{<<"b">>,signedint,2},{<<"a">>,signedint,1}]'""",
        ),
    ],
)
def test_both_values_are_named(received: Any, current: Any, text: str) -> None:
    assert refusal({"x-key": received}, {"x-key": current}) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "the value '1' of type 'signedint'"),
        (1.0, "the value '1.0' of type 'double'"),
        (False, "the value 'false' of type 'bool'"),
        ("text", "the value 'text' of type 'longstr'"),
        (b"\xe9", "the value 'é' of type 'binary'"),
        (None, "the value 'undefined' of type 'void'"),
        ([], "the value '[]' of type 'array'"),
        (Timestamp(5), "the value '5' of type 'timestamp'"),
        ({"a": True}, """the value '[{<<"a">>,bool,true}]' of type 'table'"""),
    ],
)
def test_a_value_and_none_are_named(value: Any, text: str) -> None:
    assert refusal({"x-key": value}, {}) == f"received {text} but current is none"
    assert refusal({}, {"x-key": value}) == f"received none but current is {text}"


def test_the_type_of_a_queue_is_classic_where_none_is_given() -> None:
    key = "x-queue-type"
    check_argument(key, RESOURCE, {}, {})
    check_argument(key, RESOURCE, {key: "classic"}, {})
    check_argument(key, RESOURCE, {}, {key: b"classic"})
    assert refusal({key: "quorum"}, {}, key) == "received 'quorum' but current is 'classic'"
    assert refusal({}, {key: ""}, key) == "received 'classic' but current is ''"
