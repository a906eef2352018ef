"""Requests that do not wait for each other's answers."""

from __future__ import annotations

import time
from collections.abc import Iterable

from benchmarks.client import CHANNEL, FRAME_HEAD, FRAME_OVERHEAD_BYTES, IDS, Client, describe, method_frame
from protocol.amqp.methods import ChannelClose, ConnectionClose, Method

CLOSING = {IDS.pack(method.class_id, method.method_id) for method in (ChannelClose, ConnectionClose)}


def pipelined(client: Client, methods: Iterable[Method], window: int) -> float:
    """Send methods, at most ``window`` unanswered; return the seconds until all were answered.

    Raises ``ConnectionError`` where the broker closes connection or channel.
    """
    requests = [method_frame(CHANNEL, method) for method in methods]
    begin = time.monotonic()
    sent = answered = 0
    while answered < len(requests):
        if sent < len(requests) and sent - answered < window:
            end = answered + window
            client.socket.sendall(b"".join(requests[sent:end]))
            sent = min(end, len(requests))
        answered += frames(client)
    return time.monotonic() - begin


def frames(client: Client) -> int:
    """Wait for something to come, and return how many whole frames there were."""
    client.more()
    count = at = 0
    buffer = client.buffer
    while len(buffer) - at >= FRAME_OVERHEAD_BYTES:
        kind, _, size = FRAME_HEAD.unpack_from(buffer, at)
        end = at + size + FRAME_OVERHEAD_BYTES
        if end > len(buffer):
            break
        payload = buffer[at + FRAME_HEAD.size : end - 1]
        if payload[: IDS.size] in CLOSING:
            raise ConnectionError(describe(kind, payload))
        at = end
        count += 1
    client.buffer = buffer[at:]
    return count
