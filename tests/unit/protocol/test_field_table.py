"""Field tables: every type there and back, and hostile octets refused."""

import contextlib
import math
import struct
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.amqp.errors import ConnectionException
from protocol.amqp.field_table import (
    DEPTH_MAX,
    ITEM_COUNT_MAX,
    ByteString,
    Float,
    LonglongL,
    Octet,
    Short,
    SignedOctet,
    Timestamp,
    UnsignedLong,
    UnsignedShort,
    decode_table,
    encode_table,
)

names = st.text(max_size=20)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-128, 127).map(SignedOctet),
    st.integers(0, 255).map(Octet),
    st.integers(-(1 << 15), (1 << 15) - 1).map(Short),
    st.integers(0, (1 << 16) - 1).map(UnsignedShort),
    st.integers(0, (1 << 32) - 1).map(UnsignedLong),
    st.integers(-(1 << 63), (1 << 63) - 1).map(LonglongL),
    st.integers(0, (1 << 64) - 1).map(Timestamp),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(Float),
    st.builds(
        lambda scale, unscaled: Decimal((0, tuple(map(int, str(unscaled))), -scale)),
        st.integers(0, 255),
        st.integers(0, (1 << 32) - 1),
    ),
    st.text(max_size=30),
    st.binary(max_size=30),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=20
)
tables = st.dictionaries(names, values, max_size=6)


def same(left: object, right: object) -> bool:
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    both_plain = isinstance(left, int) and isinstance(right, int) and not isinstance(left, bool)
    # An int that needs 64 bits comes back as a long of that tag.
    return left == right and (type(left) is type(right) or (both_plain and type(left) is int))


@given(tables)
def test_every_value_comes_back_with_its_type(table: dict[str, object]) -> None:
    octets = encode_table(table)
    decoded = decode_table(octets)
    assert same(table, decoded)
    assert encode_table(decoded) == octets


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_any_octets_are_a_table_or_refused(octets: bytes) -> None:
    try:
        decode_table(octets)
    except ConnectionException as error:
        assert error.reply_code == 501  # noqa: PT017 - not raising is as good


@given(tables.filter(bool), st.data())
def test_a_table_cut_short_is_refused_or_shorter(table: dict[str, object], data: st.DataObject) -> None:
    octets = encode_table(table)
    cut = data.draw(st.integers(0, len(octets) - 1))
    with contextlib.suppress(ConnectionException):
        assert len(decode_table(octets[:cut])) < len(table)


def test_octets_that_are_no_text_survive() -> None:
    octets = b"\x01aS\x00\x00\x00\x02\xff\xfe"
    assert decode_table(octets) == {"a": ByteString(b"\xff\xfe")}
    assert encode_table(decode_table(octets)) == octets


def test_of_fields_with_the_same_name_the_first_counts() -> None:
    twice = b"\x01at\x01" + b"\x01at\x00"
    assert decode_table(twice) == {"a": True}
    nested = b"\x01bF" + len(twice).to_bytes(4, "big") + twice
    assert decode_table(nested) == {"b": {"a": True}}


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_is_refused(number: float) -> None:
    for tag, form in ((b"d", ">d"), (b"f", ">f")):
        with pytest.raises(ConnectionException, match="FRAME_ERROR - malformed field table: a float is no number"):
            decode_table(b"\x01a" + tag + struct.pack(form, number))
    for value in (number, Float(number)):
        with pytest.raises(ValueError, match="no number"):
            encode_table({"a": [value]})


def test_tables_nested_too_deep_are_refused() -> None:
    octets = b""
    for _ in range(DEPTH_MAX + 1):
        octets = b"\x01aF" + len(octets).to_bytes(4, "big") + octets
    with pytest.raises(ConnectionException, match="deeper"):
        decode_table(octets)


def test_too_many_fields_are_refused() -> None:
    items = b"V" * (ITEM_COUNT_MAX + 1)
    with pytest.raises(ConnectionException, match="more than"):
        decode_table(b"\x01aA" + len(items).to_bytes(4, "big") + items)
