"""A connection of a scenario: sends methods, and sorts what comes back by channel."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pamqp import constants
from pamqp.base import Frame as Method
from pamqp.commands import Basic, Channel, Connection

from tests.differential.typed_values import Reader, encode_table
from tests.support.raw_client import HEADER_PREFIX_SIZE, Address, RawClient, frame, method_payload

ANSWER_TIMEOUT_S = 5.0
EMPTY_TABLE = b"\0\0\0\0"
CONTENT_METHODS = (Basic.Deliver, Basic.GetOk, Basic.Return)


@dataclass
class Event:
    """Something that the broker sent on a channel."""

    method: Method
    properties: dict[str, Any] | None = None
    body: bytes = b""


class ConnectionEndedError(Exception):
    """The broker has ended the connection, or does not answer on it any more: this is what can be said about it."""


def show_close(close: Any) -> str:
    """A line of a transcript: channel.close or connection.close."""
    return f"{close.name} {close.reply_code} {close.reply_text} ({close.class_id}, {close.method_id})"


class Link:
    """One open connection."""

    def __init__(self, address: Address) -> None:
        self.client = RawClient(address, ANSWER_TIMEOUT_S).open()
        self.channels: dict[int, bool] = {}
        """The open channels, and whether they are in confirm mode."""
        self.inbox: defaultdict[int, deque[Event]] = defaultdict(deque)

    def open_channel(self, number: int, confirm: bool) -> None:
        """Open a channel."""
        self.client.send(Channel.Open(), number)
        self.await_answer(number, "Channel.OpenOk")
        self.channels[number] = confirm
        if confirm:
            self.client.send_bytes(frame(constants.FRAME_METHOD, number, b"\0\x55\0\x0a\0"))
            self.await_answer(number, "Confirm.SelectOk")

    def send(self, number: int, method: Method, arguments: dict[str, Any] | None = None) -> None:
        """Send a method; arguments are always its last field."""
        payload = method_payload(method)
        if arguments:
            assert payload.endswith(EMPTY_TABLE), payload
            payload = payload.removesuffix(EMPTY_TABLE) + encode_table(arguments)
        self.client.send_bytes(frame(constants.FRAME_METHOD, number, payload))

    def await_answer(self, number: int, *names: str) -> Event:
        """The next of these methods on the channel, or channel.close; what comes before it stays in the inbox."""
        answer = self.take(number, lambda event: event.method.name in (*names, "Channel.Close"), ANSWER_TIMEOUT_S)
        if answer is None:
            raise ConnectionEndedError("no answer: the connection was given up")
        if isinstance(answer.method, Channel.Close):
            self.channels.pop(number, None)
            self.client.send(Channel.CloseOk(), number)
        return answer

    def take(self, number: int, wanted: Callable[[Event], bool], timeout_s: float) -> Event | None:
        """The next such event of the channel, out of its inbox."""
        inbox = self.inbox[number]
        deadline = time.monotonic() + timeout_s
        seen = 0
        while True:
            for index in range(seen, len(inbox)):
                if wanted(inbox[index]):
                    event = inbox[index]
                    del inbox[index]
                    return event
            seen = len(inbox)
            if not self.read_event(deadline):
                return None

    def read_event(self, deadline: float) -> bool:
        """Read one event into the inbox of its channel; false when the deadline passes first."""
        number, event = 0, None
        try:
            arrived = self._next_frame(deadline)
            if arrived is None:
                return False
            number, event = arrived[0], Event(arrived[1])
        except AssertionError:
            raise ConnectionEndedError("the connection ended without a word") from None
        if number == 0:
            if isinstance(event.method, Connection.Close):
                self.client.send(Connection.CloseOk())
                self.client.expect_end()
                raise ConnectionEndedError(show_close(event.method))
        elif isinstance(event.method, CONTENT_METHODS):
            header = self._next_of(number, constants.FRAME_HEADER)
            size = int.from_bytes(header[4:HEADER_PREFIX_SIZE], "big")
            event.properties = Reader(header[HEADER_PREFIX_SIZE:]).properties()
            while len(event.body) < size:
                event.body += self._next_of(number, constants.FRAME_BODY)
        self.inbox[number].append(event)
        return True

    def close(self) -> None:
        """Cut the connection."""
        self.client.socket.close()

    def _next_frame(self, deadline: float) -> tuple[int, Method] | None:
        while True:
            try:
                self.client.socket.settimeout(max(deadline - time.monotonic(), 0.001))
                arrived = self.client.receive_frame()
            except TimeoutError:
                return None
            finally:
                self.client.socket.settimeout(ANSWER_TIMEOUT_S)
            if arrived.type != constants.FRAME_HEARTBEAT:
                return arrived.channel, arrived.method

    def _next_of(self, number: int, frame_type: int) -> bytes:
        arrived = self.client.receive_frame()
        assert (arrived.channel, arrived.type) == (number, frame_type), arrived
        return arrived.payload
