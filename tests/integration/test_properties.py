"""The content header is passed on as it came, octet by octet."""

import struct

import pytest
from pamqp.commands import Basic

from tests.support.raw_client import RawChannel, frame, header_payload, method_payload, table

FLAGS = {
    "content_type": 15,
    "content_encoding": 14,
    "headers": 13,
    "delivery_mode": 12,
    "priority": 11,
    "correlation_id": 10,
    "reply_to": 9,
    "expiration": 8,
    "message_id": 7,
    "timestamp": 6,
    "message_type": 5,
    "user_id": 4,
    "app_id": 3,
    "cluster_id": 2,
}
SHORT = b"\5hello"
VALUES = dict.fromkeys(FLAGS, SHORT) | {
    "headers": struct.pack(">I", 5) + b"\1aV" + b"\0V",
    "delivery_mode": b"\1",
    "priority": b"\x09",
    "expiration": b"\x0560000",
    "timestamp": struct.pack(">Q", 1_700_000_000),
    "user_id": b"\5guest",
}


def encode(values: dict[str, bytes]) -> bytes:
    flags = sum(1 << FLAGS[name] for name in values)
    return struct.pack(">H", flags) + b"".join(values[name] for name in FLAGS if name in values)


def round_trip(channel: RawChannel, queue: str, properties: bytes) -> None:
    channel.publish(b"body", queue, properties=properties)
    channel.publish(b"", queue, properties=properties)
    channel.consume(queue, no_ack=True)
    for body in (b"body", b""):
        message = channel.deliver()
        assert (message.raw_properties, message.body) == (properties, body)


@pytest.mark.parametrize("name", FLAGS)
def test_every_property_passes_alone(channel: RawChannel, queue: str, name: str) -> None:
    round_trip(channel, queue, encode({name: VALUES[name]}))


def test_all_properties_pass_together(channel: RawChannel, queue: str) -> None:
    round_trip(channel, queue, encode(VALUES))


def test_no_properties_pass(channel: RawChannel, queue: str) -> None:
    round_trip(channel, queue, encode({}))


@pytest.mark.since_rabbitmq_4  # only 1 and 2 before
@pytest.mark.parametrize("mode", [0, 1, 2, 3, 255])
def test_any_delivery_mode_passes(channel: RawChannel, queue: str, mode: int) -> None:
    round_trip(channel, queue, encode({"delivery_mode": bytes([mode])}))


def nested(depth: int) -> bytes:
    """A table in a table in a table."""
    inner = table(end=b"V")
    for _ in range(depth):
        inner = table(t=b"F" + struct.pack(">I", len(inner)) + inner)
    return b"F" + struct.pack(">I", len(inner)) + inner


def array(*items: bytes) -> bytes:
    return b"A" + struct.pack(">I", sum(map(len, items))) + b"".join(items)


FIELDS = {
    "bool": b"t\1",
    "false": b"t\0",
    "byte": b"b\x80",
    "unsigned byte": b"B\xff",
    "short": b"s\x80\0",
    "unsigned short": b"u\xff\xff",
    "signed int": b"I\x80\0\0\0",
    "unsigned int": b"i\xff\xff\xff\xff",
    "long": b"l\x80" + b"\0" * 7,
    "long (L)": b"L\x7f" + b"\xff" * 7,
    "float": b"f" + struct.pack(">f", 1.5),
    "double": b"d" + struct.pack(">d", -0.1),
    "decimal": b"D\2\0\0\x30\x39",
    "long string": b"S\0\0\0\3abc",
    "empty string": b"S\0\0\0\0",
    "string that is not UTF-8": b"S\0\0\0\2\xff\xfe",
    "binary": b"x\0\0\0\3\0\1\2",
    "timestamp": b"T" + struct.pack(">Q", 1_700_000_000),
    "void": b"V",
    "empty table": b"F\0\0\0\0",
    "nested tables": nested(10),
    "empty array": b"A\0\0\0\0",
    "array": array(b"I\0\0\0\1", b"S\0\0\0\1a", b"V", array(b"t\1"), b"F\0\0\0\0"),
}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("exchange", ["", "amq.headers"])
def test_headers_of_every_type_pass(channel: RawChannel, queue: str, exchange: str, field: bytes) -> None:
    mine = b"S" + struct.pack(">I", len(queue)) + queue.encode()
    headers = table(first=b"I\0\0\0\1", mine=mine, field=field, last=b"V")
    properties = encode({"headers": struct.pack(">I", len(headers)) + headers})
    if exchange:
        channel.bind(queue, exchange, arguments={"first": 1, "mine": queue, "last": None, "field": None})
    channel.publish(b"m", queue, exchange, properties)
    channel.consume(queue, no_ack=True)
    assert channel.deliver().raw_properties == properties


@pytest.mark.parametrize("spare", [1, 2, 3])
@pytest.mark.parametrize("rest", [b"m", b"mm"], ids=["at once", "in pieces"])
def test_flags_of_no_property_are_dropped(channel: RawChannel, queue: str, spare: int, rest: bytes) -> None:
    properties = encode({"delivery_mode": b"\2", "correlation_id": b"\1c"})
    flagged = (int.from_bytes(properties[:2], "big") | spare).to_bytes(2, "big") + properties[2:]
    publish = frame(1, channel.number, method_payload(Basic.Publish(routing_key=queue)))
    header = frame(2, channel.number, header_payload(len(rest), flagged))
    # A body in one frame is taken together with its header, and a body in several is not.
    bodies = b"".join(frame(3, channel.number, rest[at : at + 1]) for at in range(len(rest)))
    channel.client.send_bytes(publish + header + bodies)
    channel.consume(queue, no_ack=True)
    message = channel.deliver()
    assert (message.raw_properties, message.body) == (properties, rest)


def test_headers_may_be_many(channel: RawChannel, queue: str) -> None:
    headers = b"".join(table(**{f"header-{number}": b"I" + struct.pack(">i", number)}) for number in range(2000))
    round_trip(channel, queue, encode({"headers": struct.pack(">I", len(headers)) + headers}))


def test_properties_survive_a_requeue(channel: RawChannel, queue: str) -> None:
    properties = encode(VALUES)
    channel.publish(b"m", queue, properties=properties)
    channel.consume(queue)
    channel.deliver()
    channel.send(Basic.Reject(1, requeue=True))
    assert channel.deliver().raw_properties == properties


def test_properties_reach_every_queue_of_a_fanout(channel: RawChannel, name: str) -> None:
    properties = encode(VALUES)
    queues = [channel.declare_queue(exclusive=True) for _ in range(3)]
    for queue in queues:
        channel.bind(queue, "amq.direct", name)
    channel.publish(b"m", name, "amq.direct", properties)
    channel.expect_silence()
    for queue in queues:
        message = channel.get(queue)
        assert message is not None
        assert (message.raw_properties, message.body) == (properties, b"m")
