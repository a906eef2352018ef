"""Frames: a stream whole, octet by octet and in any pieces gives the same frames; what is written is read."""

import itertools
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.amqp.codec import encode_method
from protocol.amqp.content_header import delivery_mode
from protocol.amqp.errors import ConnectionException
from protocol.amqp.field_table import DEPTH_MAX, ITEM_COUNT_MAX, decode_table
from protocol.amqp.methods import BasicAck, BasicNack, BasicPublish, BasicReject, QueueDeclare
from protocol.amqp.properties import BasicProperties, decode_properties, encode_properties
from protocol.amqp.reader import FrameReader, ReadBuffer
from protocol.amqp.writer import OutputBuffer

FRAME_MAX = 4096
# Copied into what is sent, and sent from where it is.
LARGE = [bytes(3 * FRAME_MAX), bytes(range(256)) * (6 * FRAME_MAX // 256)]
Frames = list[tuple[str, int, bytes]]

channels = st.integers(1, 5)
methods = st.one_of(
    st.builds(QueueDeclare, queue=st.text(max_size=20)),
    st.builds(BasicAck, delivery_tag=st.integers(0, 1 << 60), multiple=st.booleans()),
    st.builds(BasicNack, delivery_tag=st.integers(0, 1 << 60), multiple=st.booleans(), requeue=st.booleans()),
    st.builds(BasicReject, delivery_tag=st.integers(0, 1 << 60), requeue=st.booleans()),
)
properties = st.builds(
    BasicProperties,
    content_type=st.none() | st.text(max_size=20),
    headers=st.none() | st.dictionaries(st.text(max_size=5), st.integers(0, 9) | st.text(max_size=9), max_size=3),
    delivery_mode=st.none() | st.integers(0, 255),
    priority=st.none() | st.integers(0, 255),
    expiration=st.none() | st.text(max_size=9),
    timestamp=st.none() | st.integers(0, 1 << 60),
    user_id=st.none() | st.text(max_size=9),
    cluster_id=st.none() | st.text(max_size=9),
)
contents = st.tuples(st.text(max_size=20), properties, st.binary(max_size=60) | st.sampled_from(LARGE))
streams = st.lists(st.tuples(channels, methods | contents | st.none()), max_size=12)


def write(stream: list[tuple[int, object]]) -> bytes:
    output = OutputBuffer()
    for channel, item in stream:
        if item is None:
            output.heartbeat()
        elif isinstance(item, tuple):
            routing_key, props, body = item
            method = encode_method(BasicPublish(exchange="e", routing_key=routing_key, mandatory=True))
            output.content(channel, method, encode_properties(props, len(body)), body, FRAME_MAX)
        else:
            output.method(channel, encode_method(item))
    return output.take()


def joined(frames: Frames) -> Frames:
    """Join the pieces of bodies: how they are cut depends on what was read at a time."""
    result: Frames = []
    for kind, channel, octets in frames:
        if kind == "body" and result and result[-1][:2] == ("body", channel):
            result[-1] = (kind, channel, result[-1][2] + octets)
        else:
            result.append((kind, channel, octets))
    return result


def read(pieces: list[bytes]) -> Frames:
    reader, buffer = FrameReader(FRAME_MAX), ReadBuffer(1 << 18, FRAME_MAX + 1024)
    frames: Frames = []
    for piece in pieces:
        frames += reader.frames(buffer, piece)
    assert reader.tail_bytes == 0
    return joined(frames)


@given(streams)
def test_whole_and_octet_by_octet_are_the_same(stream: list[tuple[int, object]]) -> None:
    octets = write(stream)
    assert read([octets]) == read([octets[at : at + 1] for at in range(len(octets))])


@given(streams, st.data())
def test_any_pieces_are_the_same(stream: list[tuple[int, object]], data: st.DataObject) -> None:
    octets = write(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=8)))
    pieces = [octets[start:end] for start, end in itertools.pairwise([0, *cuts, len(octets)])]
    assert read([octets]) == read(pieces)


@given(streams)
def test_what_is_written_is_read(stream: list[tuple[int, object]]) -> None:
    frames = read([write(stream)])
    bodies = [octets for kind, _, octets in frames if kind == "body"]
    assert b"".join(bodies) == b"".join(item[2] for _, item in stream if isinstance(item, tuple))
    assert sum(kind == "publish" for kind, _, _ in frames) == sum(isinstance(item, tuple) for _, item in stream)
    assert sum(kind == "heartbeat" for kind, _, _ in frames) == sum(item is None for _, item in stream)


@given(st.binary(max_size=400))
@settings(max_examples=500)
def test_any_octets_are_frames_or_refused(octets: bytes) -> None:
    try:
        FrameReader(FRAME_MAX).frames(ReadBuffer(4096, 8192), octets)
    except ConnectionException as error:
        assert error.reply_code == 501  # noqa: PT017 - not raising is as good


@given(properties, st.integers(0, 1 << 40))
def test_the_delivery_mode_is_found_among_all_properties(props: BasicProperties, size: int) -> None:
    header = encode_properties(props, size)
    assert delivery_mode(header) == (props.delivery_mode or 0)
    assert decode_properties(header) == props
    for cut in range(14, len(header)):
        assert delivery_mode(header[:cut]) == -1


def header_with(table: bytes) -> bytes:
    """Return a content header payload with nothing but this headers table."""
    return struct.pack(">HHQHI", 60, 0, 0, 1 << 13, len(table)) + table


def sized(octets: bytes) -> bytes:
    return len(octets).to_bytes(4, "big") + octets


def check_headers(table: bytes, *, accepted: bool) -> None:
    """Check that the quick walk over a header, and the decoding, agree about a headers table."""
    assert delivery_mode(header_with(table)) == (0 if accepted else -1)
    if accepted:
        decode_table(table)
    else:
        with pytest.raises(ConnectionException):
            decode_table(table)


def test_a_headers_table_has_only_so_many_fields() -> None:
    # The array is a field itself, and fills the table with the other one.
    for count, accepted in ((ITEM_COUNT_MAX - 2, True), (ITEM_COUNT_MAX - 1, False)):
        check_headers(b"\x01aV" + b"\x01bA" + sized(b"V" * count), accepted=accepted)
    many = b"\x00V" * (ITEM_COUNT_MAX // 2)
    check_headers(many + many, accepted=True)
    check_headers(b"\x01aF" + sized(many) + b"\x01bF" + sized(many), accepted=False)


def test_a_headers_table_is_only_so_deep() -> None:
    table = b""
    for _ in range(DEPTH_MAX - 1):
        table = b"\x01aF" + sized(table)
    check_headers(table, accepted=True)
    check_headers(b"\x01aF" + sized(table), accepted=False)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, -math.nan])
@pytest.mark.parametrize(("tag", "form"), [(b"d", ">d"), (b"f", ">f")])
def test_a_headers_table_has_only_numbers(number: float, tag: bytes, form: str) -> None:
    octets = tag + struct.pack(form, number)
    check_headers(b"\x01a" + octets, accepted=False)
    check_headers(b"\x01aA" + sized(octets), accepted=False)
    largest = {b"d": 1.7976931348623157e308, b"f": 3.4028234663852886e38}[tag]
    check_headers(b"\x01a" + tag + struct.pack(form, -largest), accepted=True)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"\x01\x00\x01\x00\x00\x00\x04\x00\x0a\x00\x0a\xcd", "{invalid_frame_end_marker,205}"),
        (b"\x01\x00\x01\x00\x01\x00\x00", "{frame_too_large,65536,4088}"),
        (b"\x09\x00\x01\x00\x00\x00\x03abc\xce", 'type 9, all octets = <<"abc">>: unknown_frame'),
        (b"\x08\x00\x00\x00\x00\x00\x01\x00\xce", "type 8, all octets = <<0>>: unknown_frame"),
    ],
)
def test_a_frame_that_is_none_is_refused_in_rabbitmqs_words(octets: bytes, text: str) -> None:
    with pytest.raises(ConnectionException) as refused:
        FrameReader(FRAME_MAX).frames(ReadBuffer(4096, 8192), octets)
    assert text in refused.value.reply_text
