"""A small blocking AMQP client that can also misbehave: it sends any bytes, and asserts on every answer.

pamqp is the codec of methods and properties. Frames are read here, so that tests see the payloads as they came.
"""

import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from pamqp import commands, constants, header
from pamqp.base import Frame as Method
from pamqp.commands import Basic, Channel, Connection

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
ALL_CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}
ANSWER_TIMEOUT_S = 10.0
HEADER_PREFIX_SIZE = 12
"""Bytes of a content header before the property flags: class id, weight, body size."""

Address = tuple[str, int]
M = TypeVar("M", bound=Method)


class Frame(NamedTuple):
    """A frame as it came from the wire."""

    type: int
    channel: int
    payload: bytes

    @property
    def method(self) -> Method:
        """The decoded method of a method frame."""
        assert self.type == constants.FRAME_METHOD, f"expected a method, got {self}"
        class_id, method_id = struct.unpack_from(">HH", self.payload)
        method = commands.INDEX_MAPPING[class_id << 16 | method_id]()
        method.unmarshal(self.payload[4:])
        return method


@dataclass
class Message:
    """A message with the method that brought it: basic.deliver, basic.get-ok or basic.return."""

    method: Any
    header_payload: bytes
    body: bytes
    body_frame_sizes: list[int] = field(default_factory=list)

    @property
    def raw_properties(self) -> bytes:
        """The property flags and list as they came."""
        return self.header_payload[HEADER_PREFIX_SIZE:]

    @property
    def properties(self) -> Basic.Properties:
        """The decoded properties."""
        content = header.ContentHeader()
        content.unmarshal(self.header_payload)
        return content.properties


def frame(frame_type: int, channel: int, payload: bytes, end: int = constants.FRAME_END) -> bytes:
    """Encode a frame of any type, valid or not."""
    return struct.pack(">BHI", frame_type, channel, len(payload)) + payload + bytes([end])


def method_payload(method: Method) -> bytes:
    """The payload of a method frame: class id, method id, arguments."""
    return struct.pack(">I", method.index) + method.marshal()


def header_payload(
    body_size: int, properties: Basic.Properties | bytes = b"", class_id: int = 60, weight: int = 0
) -> bytes:
    """The payload of a content header frame; properties may be given as raw bytes with their flags."""
    raw = properties if isinstance(properties, bytes) else properties.marshal()
    return struct.pack(">HHQ", class_id, weight, body_size) + (raw or b"\x00\x00")


def content(channel: int, body: bytes, properties: Basic.Properties | bytes = b"", frame_max: int = 131072) -> bytes:
    """The content header frame and body frames of a message."""
    size = frame_max - 8
    pieces = [body[offset : offset + size] for offset in range(0, len(body), size)]
    frames = [frame(constants.FRAME_HEADER, channel, header_payload(len(body), properties))]
    return b"".join(frames + [frame(constants.FRAME_BODY, channel, piece) for piece in pieces])


def short_string(value: str) -> bytes:
    """A short string: one octet of length and the bytes."""
    raw = value.encode()
    return struct.pack(">B", len(raw)) + raw


def table(**entries: bytes) -> bytes:
    """A field table of values that are already encoded with their type tags, without its length."""
    return b"".join(short_string(name.replace("__", "-")) + value for name, value in entries.items())


class RawClient:
    """One connection. Methods named ``expect_...`` fail the test when the broker answers anything else."""

    def __init__(
        self, address: Address, timeout_s: float = ANSWER_TIMEOUT_S, tls: ssl.SSLContext | None = None
    ) -> None:
        self.socket = socket.create_connection(address, timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            # An end of the stream that the broker has not announced is an error then.
            self.socket = tls.wrap_socket(self.socket, server_hostname=address[0], suppress_ragged_eofs=False)
        self.frame_max = 131072
        self.tune: Any = None
        self._buffer = b""
        self._frames: deque[Frame] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are. A broker that has already closed is no failure: the test reads its last words."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def send(self, method: Method, channel: int = 0) -> None:
        """Send a method frame."""
        self.send_bytes(frame(constants.FRAME_METHOD, channel, method_payload(method)))

    def receive_bytes(self) -> bytes:
        """Whatever arrives next; empty at the end of the stream."""
        try:
            return self.socket.recv(65536)
        except ConnectionResetError:
            return b""

    def receive_frame(self) -> Frame:
        """The next frame, heartbeats included."""
        while True:
            if len(self._buffer) >= 7:
                frame_type, channel, size = struct.unpack_from(">BHI", self._buffer)
                if len(self._buffer) >= size + 8:
                    payload, end = self._buffer[7 : 7 + size], self._buffer[7 + size]
                    assert end == constants.FRAME_END, f"bad frame end {end} after {self._buffer[:32]!r}"
                    self._buffer = self._buffer[8 + size :]
                    return Frame(frame_type, channel, payload)
            data = self.receive_bytes()
            assert data, f"the broker closed the connection; unread: {self._buffer[:32]!r}"
            self._buffer += data

    def receive(self, channel: int) -> Frame:
        """The next frame of a channel; those of other channels are kept, heartbeats dropped."""
        for index, kept in enumerate(self._frames):
            if kept.channel == channel:
                del self._frames[index]
                return kept
        while (arrived := self.receive_frame()).channel != channel or arrived.type == constants.FRAME_HEARTBEAT:
            if arrived.type == constants.FRAME_HEARTBEAT:
                continue
            if arrived.channel == 0 and isinstance(arrived.method, Connection.Close):
                raise AssertionError(f"connection closed: {dict(arrived.method)}")
            self._frames.append(arrived)
        return arrived

    def put_back(self, frames: list[Frame]) -> None:
        """Have these frames received again, before all others."""
        self._frames.extendleft(reversed(frames))

    def expect(self, expected: type[M], channel: int = 0) -> M:
        """The next method of the channel, which must be of the expected class."""
        method = self.receive(channel).method
        assert isinstance(method, expected), f"expected {expected.name}, got {method.name} {dict(method)}"
        return method

    def expect_end(self) -> None:
        """Nothing more comes, and the broker has closed the socket."""
        data = self._buffer + self.receive_bytes()
        assert data == b"", f"expected the end of the stream, got {data[:200]!r}"

    def expect_connection_close(self, code: int, text: str | None = None, method: type[Method] | None = None) -> str:
        """The broker closes the connection with this code, text and offending method, and then the socket."""
        close = self.expect(Connection.Close)
        assert (close.reply_code, close.reply_text) == (code, close.reply_text if text is None else text)
        if method is not None:
            assert (close.class_id << 16 | close.method_id) == method.index, dict(close)
        self.send(Connection.CloseOk())
        self.expect_end()
        return close.reply_text

    def expect_gone(self, *codes: int) -> None:
        """The broker ends the connection: silently, as RabbitMQ often does, or with one of these codes."""
        try:
            arrived = self.receive_frame()
        except AssertionError:
            return
        assert isinstance(arrived.method, Connection.Close), arrived
        assert arrived.method.reply_code in codes, dict(arrived.method)
        self.send(Connection.CloseOk())
        self.expect_end()

    def start(self, protocol_header: bytes = PROTOCOL_HEADER) -> Any:
        """Send the protocol header and return connection.start."""
        self.send_bytes(protocol_header)
        return self.expect(Connection.Start)

    def log_in(
        self,
        user: str = "guest",
        password: str = "guest",
        capabilities: dict[str, bool] | None = None,
        mechanism: str = "PLAIN",
        response: str | None = None,
    ) -> None:
        """Answer connection.start."""
        properties = {"product": "raw", "capabilities": ALL_CAPABILITIES if capabilities is None else capabilities}
        self.send(
            Connection.StartOk(
                client_properties=properties,  # type: ignore[arg-type]
                mechanism=mechanism,
                response=f"\0{user}\0{password}" if response is None else response,
                locale="en_US",
            )
        )

    def tune_ok(self, channel_max: int | None = None, frame_max: int | None = None, heartbeat: int = 0) -> None:
        """Read connection.tune and answer it, by default with what the broker proposes."""
        self.tune = self.expect(Connection.Tune)
        self.frame_max = self.tune.frame_max if frame_max is None else frame_max
        channels = self.tune.channel_max if channel_max is None else channel_max
        self.send(Connection.TuneOk(channel_max=channels, frame_max=self.frame_max, heartbeat=heartbeat))

    def open(
        self,
        virtual_host: str = "/",
        capabilities: dict[str, bool] | None = None,
        channel_max: int | None = None,
        frame_max: int | None = None,
        heartbeat: int = 0,
    ) -> Self:
        """The whole handshake."""
        self.start()
        self.log_in(capabilities=capabilities)
        self.tune_ok(channel_max, frame_max, heartbeat)
        self.send(Connection.Open(virtual_host=virtual_host))
        self.expect(Connection.OpenOk)
        return self

    def channel(self, number: int = 1) -> "RawChannel":
        """Open a channel."""
        self.send(Channel.Open(), number)
        self.expect(Channel.OpenOk, number)
        return RawChannel(self, number)

    def close(self) -> None:
        """Close the connection as the specification wants it."""
        self.send(Connection.Close(200, "", 0, 0))
        self.expect(Connection.CloseOk)
        self.socket.close()


class RawChannel:
    """One open channel of a raw client."""

    def __init__(self, client: RawClient, number: int) -> None:
        self.client = client
        self.number = number

    def send(self, method: Method) -> None:
        """Send a method."""
        self.client.send(method, self.number)

    def expect(self, expected: type[M]) -> M:
        """The next method of this channel, which must be of the expected class."""
        return self.client.expect(expected, self.number)

    def call(self, method: Method) -> Any:
        """Send a synchronous method and return its answer; deliveries that come before it are kept."""
        self.send(method)
        kept: list[Frame] = []
        while True:
            arrived = self.client.receive(self.number)
            if arrived.type == constants.FRAME_METHOD:
                answer = arrived.method
                assert not isinstance(answer, Channel.Close), f"{method.name} closed the channel: {dict(answer)}"
                if answer.name in method.valid_responses:
                    self.client.put_back(kept)
                    return answer
            kept.append(arrived)

    def expect_channel_close(
        self, code: int, text: str, method: type[Method] | None = None, starts_with: bool = False
    ) -> None:
        """The broker closes this channel, and only this channel; of long texts the test may know the start only."""
        close = self.expect(Channel.Close)
        shown = close.reply_text[: len(text)] if starts_with else close.reply_text
        assert (close.reply_code, shown) == (code, text)
        if method is not None:
            assert (close.class_id << 16 | close.method_id) == method.index, dict(close)
        self.send(Channel.CloseOk())

    def expect_any_channel_close(self) -> int:
        """The broker closes this channel; returns why."""
        close = self.expect(Channel.Close)
        self.send(Channel.CloseOk())
        code: int = close.reply_code
        return code

    def close(self) -> None:
        """Close the channel."""
        self.call(Channel.Close(200, "", 0, 0))

    def refused(self, method: Method, code: int, text: str, starts_with: bool = False) -> "RawChannel":
        """The method closes the channel with this code and text; returns the channel opened anew."""
        self.send(method)
        self.expect_channel_close(code, text, type(method), starts_with)
        return self.client.channel(self.number)

    def publish(
        self,
        body: bytes = b"",
        routing_key: str = "",
        exchange: str = "",
        properties: Basic.Properties | bytes = b"",
        mandatory: bool = False,
        immediate: bool = False,
    ) -> None:
        """Publish a message; nothing is waited for."""
        publish = Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory, immediate=immediate)
        self.client.send_bytes(
            frame(constants.FRAME_METHOD, self.number, method_payload(publish))
            + content(self.number, body, properties, self.client.frame_max)
        )

    def receive_message(self, expected: type[Method]) -> Message:
        """The next message of this channel, brought by basic.deliver, basic.get-ok or basic.return."""
        method = self.expect(expected)
        arrived = self.client.receive(self.number)
        assert arrived.type == constants.FRAME_HEADER, arrived
        class_id, weight, size = struct.unpack_from(">HHQ", arrived.payload)
        assert (class_id, weight) == (60, 0)
        message = Message(method, arrived.payload, b"")
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < size:
            piece = self.client.receive(self.number)
            assert piece.type == constants.FRAME_BODY, piece
            pieces.append(piece.payload)
        message.body, message.body_frame_sizes = b"".join(pieces), [len(piece) for piece in pieces]
        return message

    def deliver(self) -> Message:
        """The next delivery to a consumer of this channel."""
        return self.receive_message(Basic.Deliver)

    def deliver_many(self, count: int) -> list[bytes]:
        """The bodies of the next deliveries."""
        return [self.deliver().body for _ in range(count)]

    def get(self, queue: str, no_ack: bool = True) -> Message | None:
        """basic.get: a message, or None when the queue is empty."""
        self.send(Basic.Get(queue=queue, no_ack=no_ack))
        answer = self.client.receive(self.number)
        if isinstance(answer.method, Basic.GetEmpty):
            return None
        self.client.put_back([answer])
        return self.receive_message(Basic.GetOk)

    def declare_queue(self, queue: str = "", **arguments: Any) -> str:
        """Declare a queue and return its name."""
        name: str = self.call(commands.Queue.Declare(queue=queue, **arguments)).queue
        return name

    def delete_queue(self, queue: str, **arguments: Any) -> int:
        """Delete a queue and return the number of messages that went with it."""
        count: int = self.call(commands.Queue.Delete(queue=queue, **arguments)).message_count
        return count

    def bind(self, queue: str, exchange: str, routing_key: str = "", arguments: dict[str, Any] | None = None) -> None:
        """Bind a queue."""
        self.call(commands.Queue.Bind(queue=queue, exchange=exchange, routing_key=routing_key, arguments=arguments))

    def unbind(self, queue: str, exchange: str, routing_key: str = "", arguments: dict[str, Any] | None = None) -> None:
        """Unbind a queue."""
        self.call(commands.Queue.Unbind(queue=queue, exchange=exchange, routing_key=routing_key, arguments=arguments))

    def bodies(self, queue: str) -> list[bytes]:
        """Take all messages out of a queue, once everything published before on this channel is in it."""
        self.expect_silence()
        return [message.body for message in iter(lambda: self.get(queue), None)]

    def counts(self, queue: str) -> tuple[int, int]:
        """The numbers of ready messages and of consumers, by a passive declaration."""
        answer = self.call(commands.Queue.Declare(queue=queue, passive=True))
        return answer.message_count, answer.consumer_count

    def consume(self, queue: str, tag: str = "", **arguments: Any) -> str:
        """Start a consumer and return its tag."""
        answer: str = self.call(Basic.Consume(queue=queue, consumer_tag=tag, **arguments)).consumer_tag
        return answer

    def expect_silence_or(self, take: Callable[[Message], None]) -> None:
        """Do as ``expect_silence``, but ``take`` the deliveries that come first."""
        self.send(Channel.Flow(active=True))
        while True:
            arrived = self.client.receive(self.number)
            if isinstance(arrived.method, Channel.FlowOk):
                return
            self.client.put_back([arrived])
            take(self.deliver())

    def expect_silence(self) -> None:
        """Nothing is under way to this channel: the answer to a method sent now is what comes next."""
        self.send(Channel.Flow(active=True))
        self.expect(Channel.FlowOk)
