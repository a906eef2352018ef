"""Reading and changing single fields of a content header: everything else keeps its octets."""

from decimal import Decimal

import pytest

from protocol.amqp import header_fields
from protocol.amqp.field_table import Timestamp, encode_table
from protocol.amqp.properties import BasicProperties, decode_properties, encode_properties

HEADERS = {
    "a": 1,
    "b": "text",
    "c": {"nested": [1, 2, {"x": True}]},
    "d": Timestamp(17),
    "e": Decimal("1.5"),
    "f": None,
    "g": 1.25,
    "h": b"octets",
}
FULL = BasicProperties(
    content_type="text/plain",
    content_encoding="utf-8",
    headers=HEADERS,
    delivery_mode=2,
    priority=7,
    correlation_id="c",
    reply_to="r",
    expiration="1500",
    message_id="m",
    timestamp=3,
    type="t",
    user_id="guest",
    app_id="app",
    cluster_id="k",
)


def encoded(**properties: object) -> bytes:
    return encode_properties(BasicProperties(**properties), 5)  # type: ignore[arg-type]


def test_properties_are_read_without_decoding_the_rest() -> None:
    header = encode_properties(FULL, 5)
    assert header_fields.priority_of(header) == 7
    assert header_fields.expiration_of(header) == 1500
    assert header_fields.message_id_of(header) == b"m"
    assert header_fields.reply_to_of(header) == b"r"
    assert header_fields.find_traits(header) == header_fields.TRAIT_EXPIRES


def test_what_is_missing_is_said_to_be_missing() -> None:
    header = encoded(content_type="x", timestamp=1)
    assert header_fields.priority_of(header) == -1
    assert header_fields.expiration_of(header) == -1
    assert header_fields.message_id_of(header) is None
    assert header_fields.reply_to_of(header) is None
    assert header_fields.find_field(header, b"a") is None
    assert header_fields.split_fields(header) == {}
    assert header_fields.find_traits(header) == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("+5", 5), ("007", 7), ("", -1), ("5x", -1), ("9" * 30, -1), ("-0", 0), ("0" * 200 + "5", 5)],
)
def test_an_expiration_is_a_number_or_nothing(text: str, value: int) -> None:
    assert header_fields.expiration_of(encoded(expiration=text)) == value


@pytest.mark.parametrize(
    ("name", "traits"),
    [
        ("CC", header_fields.TRAIT_ROUTED),
        ("BCC", header_fields.TRAIT_ROUTED | header_fields.TRAIT_HIDDEN),
        ("x-haypile-deaths", header_fields.TRAIT_HIDDEN),
        ("x-haypile-", 0),
        ("cc", 0),
        ("CCC", 0),
        ("x-delay", 0),
    ],
)
def test_traits_come_from_the_names_of_fields(name: str, traits: int) -> None:
    assert header_fields.find_traits(encoded(headers={**HEADERS, name: ["k"], "z": 1})) == traits


def test_only_fields_of_the_outer_table_count() -> None:
    assert header_fields.find_traits(encoded(headers={"inner": {"CC": ["k"], "BCC": ["k"]}})) == 0


def test_raw_values_are_those_of_the_table() -> None:
    header = encode_properties(FULL, 5)
    fields = header_fields.split_fields(header)
    assert list(fields) == [name.encode() for name in HEADERS]
    for name, raw in fields.items():
        assert encode_table({name.decode(): HEADERS[name.decode()]}) == bytes((len(name),)) + name + raw
        assert header_fields.find_field(header, name) == raw


def test_the_first_of_two_fields_with_one_name_counts() -> None:
    header = encoded(headers={"a": 1, "b": 2}).replace(b"\x01b", b"\x01a")
    assert header_fields.split_fields(header) == header_fields.split_fields(encoded(headers={"a": 1}))


def test_fields_are_replaced_and_everything_else_stays() -> None:
    header = encode_properties(FULL, 5)
    fields = header_fields.split_fields(header)
    assert header_fields.replace_fields(header, fields) == header
    del fields[b"a"]
    fields[b"new"] = b"I\x00\x00\x00\x09"
    changed = decode_properties(header_fields.replace_fields(header, fields))
    expected = decode_properties(header)
    expected.headers = {**{name: value for name, value in HEADERS.items() if name != "a"}, "new": 9}
    assert changed == expected


def test_fields_are_added_where_there_was_no_table_and_taken_away_altogether() -> None:
    header = encoded(content_type="x", priority=3, expiration="5", message_id="m")
    added = header_fields.replace_fields(header, {b"a": b"t\x01"})
    assert decode_properties(added).headers == {"a": True}
    assert header_fields.replace_fields(added, {}) == header


def test_the_expiration_can_be_taken_away() -> None:
    header = encode_properties(FULL, 5)
    changed = decode_properties(header_fields.replace_fields(header, header_fields.split_fields(header), False))
    expected = decode_properties(header)
    expected.expiration = None
    assert changed == expected


def test_the_reply_to_is_replaced() -> None:
    changed = decode_properties(header_fields.replace_reply_to(encode_properties(FULL, 5), b"elsewhere"))
    assert changed.reply_to == "elsewhere"
    assert changed.expiration == "1500"


def test_hidden_fields_are_not_visible() -> None:
    header = encoded(headers={"a": 1, "BCC": ["k"], "CC": ["j"], "x-haypile-deaths": ["k"]}, priority=1)
    shown = decode_properties(header_fields.visible(header))
    assert shown.headers == {"a": 1, "CC": ["j"]}
    assert shown.priority == 1
    assert decode_properties(header_fields.visible(encoded(headers={"BCC": ["k"]}))).headers == {}
