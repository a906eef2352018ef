"""A blocking connection with one channel, on the codec of the broker."""

from __future__ import annotations

import socket
import struct
from functools import cache, cached_property

from benchmarks.tls import TlsPort, sealed
from protocol.amqp.codec import decode_method, encode_method
from protocol.amqp.methods import (
    ChannelClose,
    ChannelOpen,
    ChannelOpenOk,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    Method,
)
from protocol.amqp.writer import OutputBuffer

HOST = "127.0.0.1"
CHANNEL = 1
FRAME_MAX_BYTES = 131_072
CHANNEL_MAX = 2047
READ_SIZE_BYTES = 1 << 18
"""For buffers that are kept."""

ANSWER_SIZE_BYTES = 1 << 14
"""For what is read into memory of its own each time: of more, the system would be asked for it each time. It is what a
record of TLS holds at most."""

TIMEOUT_S = 10.0
METHOD_FRAME = 1
FRAME_HEAD = struct.Struct(">BHI")
FRAME_OVERHEAD_BYTES = 8
IDS = struct.Struct(">HH")


def method_frame(channel: int, method: Method) -> bytes:
    """Return a method as it goes over the wire."""
    output = OutputBuffer()
    output.method(channel, encode_method(method))
    return output.take()


START_OK = method_frame(0, ConnectionStartOk(mechanism="PLAIN", response=b"\0guest\0guest", locale="en_US"))
OPEN_CHANNEL = method_frame(CHANNEL, ChannelOpen())
CLOSE = method_frame(0, ConnectionClose(reply_code=200, reply_text="bye"))


@cache
def tune_and_open(heartbeat_s: int) -> bytes:
    """Return connection.tune-ok and connection.open."""
    tune = ConnectionTuneOk(channel_max=CHANNEL_MAX, frame_max=FRAME_MAX_BYTES, heartbeat=heartbeat_s)
    return method_frame(0, tune) + method_frame(0, ConnectionOpen(virtual_host="/"))


def ids_of(method: type[Method]) -> bytes:
    """Return what the payload of a method begins with."""
    return IDS.pack(method.class_id, method.method_id)


class Client:
    """A connection, and channel 1 on it: with TLS, if the port is a ``TlsPort``.

    A ``heartbeat_s`` of 0 turns heartbeats off.
    """

    def __init__(self, port: int, heartbeat_s: int = 0) -> None:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(TIMEOUT_S)
        connection.connect((HOST, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sealed(connection) if isinstance(port, TlsPort) else connection
        self.buffer = b""
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._start = self.expect(ConnectionStart)
        self.socket.sendall(START_OK)
        self.expect(ConnectionTune)
        self.socket.sendall(tune_and_open(heartbeat_s))
        self.expect(ConnectionOpenOk)
        self.socket.sendall(OPEN_CHANNEL)
        self.expect(ChannelOpenOk)

    @cached_property
    def server(self) -> str:
        """What the broker is, with its version."""
        start = decode_method(self._start)
        assert isinstance(start, ConnectionStart)
        properties = start.server_properties
        # Haypile calls itself RabbitMQ, for clients that ask for that, and says there what it is.
        ours = properties.get("haypile")
        return f"Haypile {ours}" if ours else f"{properties['product']} {properties['version']}"

    def send(self, channel: int, method: Method) -> None:
        """Send a method."""
        self.socket.sendall(method_frame(channel, method))

    def frame(self) -> tuple[int, bytes]:
        """Return type and payload of the next frame."""
        while True:
            if len(self.buffer) >= FRAME_OVERHEAD_BYTES:
                kind, _, size = FRAME_HEAD.unpack_from(self.buffer)
                if len(self.buffer) >= size + FRAME_OVERHEAD_BYTES:
                    payload = self.buffer[FRAME_HEAD.size : FRAME_HEAD.size + size]
                    self.buffer = self.buffer[size + FRAME_OVERHEAD_BYTES :]
                    return kind, payload
            self.more()

    def more(self) -> None:
        """Wait for octets, and append them to the buffer."""
        data = self.socket.recv(ANSWER_SIZE_BYTES)
        if not data:
            raise ConnectionError("the broker closed the connection")
        self.buffer += data

    def expect(self, method: type[Method]) -> bytes:
        """Return the payload of the next frame, which has to carry this method; leave its arguments alone.

        Raises ``ConnectionError`` where it carries another.
        """
        kind, payload = self.frame()
        if kind != METHOD_FRAME or not payload.startswith(ids_of(method)):
            raise ConnectionError(f"{method.name} was due, not {describe(kind, payload)}")
        return payload

    def receive(self) -> Method:
        """Return the next method. Raises ``ConnectionError`` where the broker closes connection or channel."""
        kind, payload = self.frame()
        method = decode_method(payload)
        if isinstance(method, (ConnectionClose, ChannelClose)):
            raise ConnectionError(describe(kind, payload))
        return method

    def call(self, channel: int, method: Method) -> Method:
        """Send a method and return the answer."""
        self.send(channel, method)
        return self.receive()

    def close(self) -> None:
        """Close the connection as a client should: the broker has read everything before it answers."""
        self.socket.sendall(CLOSE)
        while True:
            kind, payload = self.frame()
            if kind == METHOD_FRAME and payload.startswith(ids_of(ConnectionCloseOk)):
                break
        self.socket.close()


def describe(kind: int, payload: bytes) -> str:
    """Return what a frame says, for messages."""
    if kind != METHOD_FRAME:
        return f"a frame of type {kind}"
    method = decode_method(payload)
    if isinstance(method, (ConnectionClose, ChannelClose)):
        return f"{method.name} {method.reply_code} {method.reply_text}"
    return method.name
