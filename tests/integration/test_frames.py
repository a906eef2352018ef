"""What is wrong with a frame itself closes the connection, with the words of RabbitMQ."""

import struct

import pytest
from pamqp import constants
from pamqp.commands import Basic, Channel, Queue

from tests.conftest import Connect
from tests.support.raw_client import RawChannel, RawClient, content, frame, header_payload, method_payload

FLOW = method_payload(Channel.Flow(active=True))


@pytest.mark.parametrize(
    ("sent", "code", "text"),
    [
        (frame(1, 1, FLOW, end=7), 501, "type 1, all octets = <<0,20,0,20,1>>: {invalid_frame_end_marker,7}"),
        (
            frame(1, 0, b"abcd" * 5, end=0),
            501,
            'type 1, first 16 octets = <<"abcdabcdabcdabcd">>: {invalid_frame_end_marker,0}',
        ),
        (frame(9, 1, b"abc"), 501, 'type 9, all octets = <<"abc">>: unknown_frame'),
        (frame(0, 1, b""), 501, "type 0, all octets = <<>>: unknown_frame"),
        (frame(9, 0, b"abc" * 6), 501, 'type 9, first 16 octets = <<"abcabcabcabcabca">>: unknown_frame'),
        (frame(1, 1, b"\0\0"), 501, "type 1, all octets = <<0,0>>: unknown_frame"),
        (frame(2, 1, b"\0\x3c"), 501, "type 2, all octets = <<0,60>>: unknown_frame"),
        (frame(8, 0, b"x"), 501, 'type 8, all octets = <<"x">>: unknown_frame'),
        (frame(8, 1, b""), 505, "type 8, all octets = <<>>"),
        (frame(3, 0, b"x"), 505, 'type 3, all octets = <<"x">>'),
        (frame(2, 0, header_payload(3)), 505, "type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,3,0,0>>"),
    ],
)
def test_malformed_frames_close_the_connection(channel: RawChannel, sent: bytes, code: int, text: str) -> None:
    channel.client.send_bytes(sent)
    kind = {501: "FRAME_ERROR", 505: "UNEXPECTED_FRAME"}[code]
    close = channel.client.expect_connection_close(code, f"{kind} - {text}")
    assert close


def test_a_frame_larger_than_negotiated_is_refused_at_its_header(connect: Connect) -> None:
    client = connect().open(frame_max=8192)
    client.channel(1)
    client.send_bytes(struct.pack(">BHI", 3, 1, 8193))
    client.expect_connection_close(501, "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,8193,8184}")


def test_a_frame_that_forgets_its_own_eight_octets_is_forgiven(channel: RawChannel, queue: str) -> None:
    publish = frame(1, 1, method_payload(Basic.Publish(routing_key=queue)))
    body = b"x" * 131072
    channel.client.send_bytes(publish + frame(2, 1, header_payload(len(body))) + frame(3, 1, body))
    channel.call(Channel.Flow(active=True))
    message = channel.get(queue)
    assert message is not None
    assert message.body == body
    assert max(message.body_frame_sizes) <= 131072 - 8


@pytest.mark.parametrize(
    ("arguments", "described"),
    [(b"\0\0\5ab", "<<0,0,5,97,98>>"), (b"", "<<>>"), (b"\0\0\0\0\0\0\0\0\0", "<<0,0,0,0,0,0,0,0,0>>")],
    ids=["short", "empty", "long"],
)
def test_arguments_of_the_wrong_length_close_the_connection(
    channel: RawChannel, arguments: bytes, described: str
) -> None:
    channel.client.send_bytes(frame(1, 1, struct.pack(">I", Queue.Declare.index) + arguments))
    channel.client.expect_connection_close(501, f"FRAME_ERROR - cannot decode {described}", Queue.Declare)


def test_a_name_that_is_not_utf_8_closes_the_connection(channel: RawChannel) -> None:
    arguments = b"\0\0" + b"\2\xff\xfe" + b"\0" + b"\0\0\0\0"
    channel.client.send_bytes(frame(1, 1, struct.pack(">I", Queue.Declare.index) + arguments))
    channel.client.expect_connection_close(501, "FRAME_ERROR - Malformed UTF-8 in shortstr")


@pytest.mark.haypile_only  # RabbitMQ ends the connection without a word
@pytest.mark.parametrize("ids", [(999, 1), (60, 999), (10, 999), (0, 0)])
@pytest.mark.parametrize("number", [0, 1])
def test_unknown_methods_close_the_connection(channel: RawChannel, ids: tuple[int, int], number: int) -> None:
    channel.client.send_bytes(frame(1, number, struct.pack(">HH", *ids)))
    channel.client.expect_gone(503, 540)


def test_frames_cut_anywhere_are_the_same_frames(client: RawClient, name: str) -> None:
    stream = b"".join(
        [
            frame(1, 1, method_payload(Channel.Open())),
            frame(1, 1, method_payload(Queue.Declare(queue=name, exclusive=True))),
            frame(1, 1, method_payload(Basic.Publish(routing_key=name))),
            content(1, b"octet by octet"),
            frame(constants.FRAME_HEARTBEAT, 0, b""),
            frame(1, 1, method_payload(Basic.Get(queue=name, no_ack=True))),
        ]
    )
    for octet in stream:
        client.send_bytes(bytes([octet]))
    client.expect(Channel.OpenOk, 1)
    channel = RawChannel(client, 1)
    channel.expect(Queue.DeclareOk)
    assert channel.receive_message(Basic.GetOk).body == b"octet by octet"


def test_many_frames_in_one_segment_are_all_served(client: RawClient, name: str) -> None:
    declare = frame(1, 1, method_payload(Queue.Declare(queue=name, exclusive=True)))
    client.send_bytes(frame(1, 1, method_payload(Channel.Open())) + declare * 500)
    client.expect(Channel.OpenOk, 1)
    for _ in range(500):
        assert client.expect(Queue.DeclareOk, 1).queue == name
