"""Headers that are judged where they stand: what decoding them says, whatever their octets are."""

import struct
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.session.direct_reply import PSEUDO_QUEUE
from broker.session.plain_header import judge
from broker.session.publish_checks import accept_properties
from protocol.amqp.errors import ChannelException, ConnectionException
from protocol.amqp.field_table import DEPTH_MAX, encode_table
from protocol.amqp.properties import decode_properties

REPLY_NAME = f"{PSEUDO_QUEUE}.secret"
USER_NAMES = ["guest", "", "gäst", "g" * 255, "lone\udc80"]

short_strings = st.binary(max_size=20).map(lambda octets: bytes((len(octets),)) + octets)
expirations = st.one_of(
    st.integers(-5, 10**20).map(lambda value: str(value).encode()),
    st.integers(315_360_000_000 - 2, 315_360_000_000 + 2).map(lambda value: str(value).encode()),
    st.from_regex(rb"[+-]?[0-9]{0,30}[a\xb2 ]?", fullmatch=True),
).map(lambda octets: bytes((len(octets),)) + octets)
names = st.sampled_from(["CC", "BCC", "cc", "x-haypile-", "x-haypile-a", "x-haypile", "x-delay", "", "a"])
leaves = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text(max_size=9) | st.binary(max_size=9)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)
tables = (
    st.dictionaries(names, values, max_size=4).map(encode_table)
    | st.binary(max_size=30)
    | st.integers(DEPTH_MAX - 2, DEPTH_MAX + 2).map(lambda depth: b"\1aV" if depth == 0 else _nested(depth))
).map(lambda octets: struct.pack(">I", len(octets)) + octets)
_KINDS: list[st.SearchStrategy[bytes]] = [
    short_strings,
    short_strings,
    tables,
    st.binary(min_size=1, max_size=1),
    st.binary(min_size=1, max_size=1),
    short_strings,
    short_strings | st.just(bytes((len(PSEUDO_QUEUE),)) + PSEUDO_QUEUE.encode()),
    expirations,
    short_strings,
    st.binary(min_size=8, max_size=8),
    short_strings,
    st.sampled_from([name.encode("utf-8", "surrogateescape") for name in USER_NAMES]).map(
        lambda octets: bytes((len(octets),)) + octets
    ),
    short_strings,
    short_strings,
]
"""What each property may be, from the highest flag to the lowest that has one."""


def _nested(depth: int) -> bytes:
    table = b""
    for _ in range(depth - 1):
        table = b"\1aF" + struct.pack(">I", len(table)) + table
    return table


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Content header payloads with any of the properties."""
    flags = draw(st.integers(0, (1 << 14) - 1))
    parts = [draw(kind) for place, kind in enumerate(_KINDS) if flags >> (13 - place) & 1]
    return struct.pack(">HHQH", 60, 0, draw(st.integers(0, 9)), flags << 2) + b"".join(parts)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Content header payloads that are cut, longer than they should be, or in which octets are others."""
    header = bytearray(draw(headers()))
    for _ in range(draw(st.integers(1, 3))):
        what = draw(st.integers(0, 2))
        at = draw(st.integers(0, len(header) - 1)) if header else 0
        if what == 0:
            del header[at:]
        elif what == 1:
            header += draw(st.binary(min_size=1, max_size=8))
        elif header:
            header[at] = draw(st.integers(0, 255))
    if len(header) >= 14:
        # The frame reader clears the two flags that no property has.
        header[13] &= 0xFC
    return bytes(header)


def channel_of(user_name: str, *, consumes_replies: bool) -> Any:
    return SimpleNamespace(
        connection=SimpleNamespace(user=SimpleNamespace(name=user_name)),
        reply_queue=SimpleNamespace(name=REPLY_NAME) if consumes_replies else None,
    )


def check(header: bytes, channel: Any) -> bool:
    """Compare with what decoding says. Returns whether the header was judged without."""
    mode, accepted, traits = judge(channel, header, channel.reply_queue and REPLY_NAME.encode())
    try:
        properties = decode_properties(header)
    except ConnectionException:
        assert (mode, accepted) == (-1, None)
        return False
    assert mode == (properties.delivery_mode or 0)
    if accepted is None:
        return False
    assert (accepted, traits) == accept_properties(channel, header)
    return True


@given(headers(), st.sampled_from(USER_NAMES), st.booleans())
@settings(max_examples=1000)
@example(struct.pack(">HHQH", 60, 0, 0, 1 << 8) + b"\x1299999999999999999\x39", "guest", True)
@example(struct.pack(">HHQH", 60, 0, 0, 1 << 4) + b"\4gues", "guest", True)
@example(struct.pack(">HHQH", 60, 0, 0, 1 << 4) + b"\6guest\0", "guest", True)
def test_a_header_is_judged_as_by_those_who_decode_it(header: bytes, user_name: str, consumes_replies: bool) -> None:
    check(header, channel_of(user_name, consumes_replies=consumes_replies))


@given(damaged() | st.binary(max_size=80), st.sampled_from(USER_NAMES), st.booleans())
@settings(max_examples=2000)
def test_damaged_headers_are_judged_as_by_those_who_decode_them(
    header: bytes, user_name: str, consumes_replies: bool
) -> None:
    check(header, channel_of(user_name, consumes_replies=consumes_replies))


def header_of(flag: int, octets: bytes) -> bytes:
    return struct.pack(">HHQH", 60, 0, 0, 1 << flag) + octets


@pytest.mark.parametrize(
    ("header", "plain"),
    [
        (header_of(8, b"\0"), False),
        (header_of(8, b"\0050 000"), False),
        (header_of(8, b"\1+"), False),
        (header_of(8, b"\2+5"), False),
        (header_of(8, b"\00560000"), True),
        (header_of(8, b"\x0c315360000000"), True),
        (header_of(8, b"\x0c315360000001"), False),
        (header_of(8, b"\x13" + b"0" * 19), False),
        (header_of(4, b"\5guest"), True),
        (header_of(4, b"\5Guest"), False),
        (header_of(9, b"\1r"), True),
        (header_of(9, b"\x15amq.rabbitmq.reply-to"), True),
        (header_of(13, struct.pack(">I", 5) + b"\2cct\1"), True),
        (header_of(13, struct.pack(">I", 5) + b"\2CCt\1"), False),
        (header_of(13, struct.pack(">I", 5) + b"\3BCCV"), False),
        (header_of(13, struct.pack(">I", 13) + b"\x0bx-haypile-aV"), False),
    ],
)
def test_common_headers_need_not_be_decoded(header: bytes, plain: bool) -> None:
    assert check(header, channel_of("guest", consumes_replies=True)) == plain


def test_who_wants_replies_and_does_not_consume_them_is_refused_by_name() -> None:
    header = header_of(9, b"\x15amq.rabbitmq.reply-to")
    channel = channel_of("guest", consumes_replies=False)
    assert not check(header, channel)
    with pytest.raises(ChannelException, match="fast reply consumer does not exist"):
        accept_properties(channel, header)
