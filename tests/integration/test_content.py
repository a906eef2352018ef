"""Content: method, header and body frames in their order, and what breaks it."""

import random
from collections.abc import Callable

import pytest
from pamqp.commands import Basic, Channel

from tests.conftest import MAX_MESSAGE_SIZE, Connect, StartBroker
from tests.support.raw_client import RawChannel, frame, header_payload, method_payload

PUBLISH = frame(1, 1, method_payload(Basic.Publish(routing_key="nowhere")))
FLOW = frame(1, 1, method_payload(Channel.Flow(active=True)))
NO_METHOD = "UNEXPECTED_FRAME - expected method frame, got non method frame instead"
NO_HEADER = "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead"
WRONG_CLASS = "UNEXPECTED_FRAME - expected content header for class 60, got one for class {} instead"
NO_BODY = "UNEXPECTED_FRAME - expected content body, got non content body frame instead"


def header(size: int, class_id: int = 60, weight: int = 0) -> bytes:
    return frame(2, 1, header_payload(size, class_id=class_id, weight=weight))


def body(data: bytes) -> bytes:
    return frame(3, 1, data)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (body(b"x"), NO_METHOD),
        (header(3), NO_METHOD),
        (PUBLISH + header(0) + body(b""), NO_METHOD),
        (PUBLISH + header(1) + body(b"x") + body(b"y"), NO_METHOD),
    ],
    ids=["body first", "header first", "body of an empty message", "body after the end"],
)
def test_content_without_a_method(channel: RawChannel, sent: bytes, text: str) -> None:
    channel.client.send_bytes(sent)
    channel.client.expect_connection_close(505, text)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (PUBLISH + FLOW, NO_HEADER),
        (PUBLISH + PUBLISH, NO_HEADER),
        (PUBLISH + body(b"x"), NO_HEADER),
        (PUBLISH + header(3, weight=1), NO_HEADER),
        (PUBLISH + header(3, class_id=50), WRONG_CLASS.format(50)),
        (PUBLISH + header(3, class_id=999), WRONG_CLASS.format(999)),
        (PUBLISH + header(3) + FLOW, NO_BODY),
        (PUBLISH + header(3) + header(3), NO_BODY),
        (PUBLISH + header(3) + body(b"xx") + PUBLISH, NO_BODY),
    ],
    ids=[
        "method",
        "publish",
        "body",
        "weight",
        "class",
        "unknown class",
        "method in body",
        "header twice",
        "publish in body",
    ],
)
def test_content_out_of_order(channel: RawChannel, sent: bytes, text: str) -> None:
    channel.client.send_bytes(sent)
    channel.client.expect_connection_close(505, text, Basic.Publish)


@pytest.mark.since_rabbitmq_4
def test_a_body_larger_than_announced(channel: RawChannel) -> None:
    channel.client.send_bytes(PUBLISH + header(3) + body(b"xxxx"))
    channel.client.expect_connection_close(
        501, "FRAME_ERROR - content body frame exceeds remaining content size", Basic.Publish
    )


@pytest.mark.since_rabbitmq_4
@pytest.mark.parametrize("size", [536870913, 1 << 62, (1 << 64) - 1])
def test_a_body_that_nobody_can_hold_is_refused_at_its_header(channel: RawChannel, size: int) -> None:
    channel.client.send_bytes(PUBLISH + header(size))
    channel.client.expect_connection_close(
        501, f"FRAME_ERROR - content body size {size} exceeds maximum allowed size 536870912", Basic.Publish
    )


def test_contents_of_two_channels_may_be_interleaved(channel: RawChannel, queue: str) -> None:
    client = channel.client
    client.channel(2)
    publish = method_payload(Basic.Publish(routing_key=queue))
    for number in (1, 2):
        client.send_bytes(frame(1, number, publish))
    for number in (2, 1):
        client.send_bytes(frame(2, number, header_payload(4)))
    for number, piece in ((1, b"o"), (2, b"tw"), (1, b"nes"), (2, b"os")):
        client.send_bytes(frame(3, number, piece))
    channel.consume(queue, no_ack=True)
    assert sorted(channel.deliver_many(2)) == [b"ones", b"twos"]


PIECES: dict[str, Callable[[bytes], list[bytes]]] = {
    "whole": lambda data: [data],
    "octets": lambda data: [data[index : index + 1] for index in range(len(data))],
    "empty frames between": lambda data: [b"", data[:1], b"", b"", data[1:]],
    "odd": lambda data: [data[:7], data[7:8], data[8:511], data[511:]],
}


@pytest.mark.parametrize("split", PIECES.values(), ids=PIECES)
def test_a_body_may_come_in_frames_of_any_size(
    channel: RawChannel, queue: str, split: Callable[[bytes], list[bytes]]
) -> None:
    data = random.Random(1).randbytes(600)
    publish = frame(1, 1, method_payload(Basic.Publish(routing_key=queue)))
    channel.client.send_bytes(publish + header(len(data)) + b"".join(map(body, split(data))))
    channel.call(Channel.Flow(active=True))
    message = channel.get(queue)
    assert message is not None
    assert message.body == data


FRAME_BODY = 131072 - 8


@pytest.mark.parametrize("size", [0, 1, FRAME_BODY - 1, FRAME_BODY, FRAME_BODY + 1, 3 * FRAME_BODY, MAX_MESSAGE_SIZE])
def test_bodies_of_all_sizes_come_back(channel: RawChannel, queue: str, size: int) -> None:
    data = random.Random(size).randbytes(size)
    channel.publish(data, queue)
    channel.publish(b"next", queue)
    channel.consume(queue, no_ack=True)
    first, second = channel.deliver(), channel.deliver()
    assert first.body == data
    assert len(first.body_frame_sizes) == -(-size // FRAME_BODY)
    assert second.body == b"next"


def test_a_message_larger_than_allowed_closes_the_channel(channel: RawChannel, queue: str) -> None:
    size = MAX_MESSAGE_SIZE + 1
    channel.publish(b"x" * size, queue)
    channel.expect_channel_close(
        406,
        f"PRECONDITION_FAILED - message size {size} is larger than configured max size {MAX_MESSAGE_SIZE}",
        Basic.Publish,
    )
    again = channel.client.channel(1)
    again.publish(b"fits", queue)
    again.call(Channel.Flow(active=True))
    message = again.get(queue)
    assert message is not None
    assert message.body == b"fits"


@pytest.mark.haypile_only  # RabbitMQ keeps the whole body in memory first
def test_a_message_larger_than_allowed_is_refused_at_its_header(channel: RawChannel, queue: str) -> None:
    publish = frame(1, 1, method_payload(Basic.Publish(routing_key=queue)))
    channel.client.send_bytes(publish + header(MAX_MESSAGE_SIZE + 1))
    channel.expect_channel_close(
        406,
        f"PRECONDITION_FAILED - message size {MAX_MESSAGE_SIZE + 1} is larger than configured max size"
        f" {MAX_MESSAGE_SIZE}",
        Basic.Publish,
    )


def test_the_largest_message_by_default_has_128_mebibytes(start_broker: StartBroker) -> None:
    with start_broker().connect().open() as client:
        client.channel(1)
        client.send_bytes(PUBLISH + header((128 << 20) + 1))
        text = "PRECONDITION_FAILED - message size 134217729 is larger than configured max size 134217728"
        RawChannel(client, 1).expect_channel_close(406, text, Basic.Publish)


def test_a_connection_lost_in_the_middle_of_a_body_leaves_nothing(
    connect: Connect, channel: RawChannel, name: str
) -> None:
    lost = connect().open()
    shared = lost.channel(1).declare_queue(name, auto_delete=True)
    publish = frame(1, 1, method_payload(Basic.Publish(routing_key=shared)))
    lost.send_bytes(publish + header(10) + body(b"half"))
    lost.channel(2)
    lost.socket.close()
    assert channel.get(shared) is None
    channel.publish(b"whole", shared)
    channel.consume(shared, no_ack=True)
    assert channel.deliver().body == b"whole"
