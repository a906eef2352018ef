"""Heartbeats: sent at half the negotiated interval, and missed ones end the connection."""

import time

from pamqp import constants

from tests.conftest import Connect
from tests.support.raw_client import frame

HEARTBEAT = frame(constants.FRAME_HEARTBEAT, 0, b"")


def test_an_idle_connection_is_sent_heartbeats_and_cut_when_it_answers_none(connect: Connect) -> None:
    client = connect().open(heartbeat=1)
    began = time.monotonic()
    received = b""
    while data := client.receive_bytes():
        received += data
    silence = time.monotonic() - began
    assert received == HEARTBEAT * (len(received) // len(HEARTBEAT))
    assert len(received) >= 2 * len(HEARTBEAT)
    assert 1.5 <= silence <= 5.0


def test_a_connection_that_sends_heartbeats_stays(connect: Connect) -> None:
    beating, silent = connect().open(heartbeat=1), connect().open(heartbeat=1)
    while True:
        arrived = beating.receive_frame()
        assert arrived.type == constants.FRAME_HEARTBEAT
        beating.send_bytes(HEARTBEAT)
        silent.socket.setblocking(False)
        try:
            if silent.receive_bytes() == b"":
                break
        except BlockingIOError:
            continue
    beating.channel(1)


def test_heartbeats_of_the_client_have_no_answer(connect: Connect) -> None:
    client = connect().open()
    client.send_bytes(HEARTBEAT * 3)
    client.channel(1)
