"""A client at the other end of a simulated network, which carries octets in pieces of any size, whenever it likes."""

import random
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from pamqp import constants
from pamqp.commands import Basic, Channel, Connection

from broker.session.connection import Connection as Session
from tests.simulation.violation import Violation
from tests.support.in_process import InProcessBroker, Transport
from tests.support.raw_client import ALL_CAPABILITIES, PROTOCOL_HEADER, Frame, Message, content, frame, method_payload

FRAME_MAX = 4096
CHANNEL = 1
DELIVERY_COUNT = b"x-delivery-count"
UNREAD_SIZES_MAX = (500, 10_000, 1 << 20)
"""How much may lie in the network before the broker is told to wait."""


class LifeEnded(Exception):  # noqa: N818 - no error
    """The broker is not there any more."""


class Network(Transport):
    """The broker's end of the network, which takes only so much."""

    def __init__(self, unread_size_max: int) -> None:
        super().__init__()
        self.unread_size_max = unread_size_max
        self.session: Session
        self.paused = False
        self.is_reading = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def write(self, data: bytes) -> None:
        super().write(data)
        if len(self.sent) > self.unread_size_max and not self.paused:
            self.paused = True
            self.session.pause_writing()

    def take(self, size: int) -> bytes:
        data = bytes(self.sent[:size])
        del self.sent[:size]
        if not self.sent and self.paused:
            self.paused = False
            if not self.closed:
                self.session.resume_writing()
        return data

    def close(self) -> None:
        self.closed = True

    abort = close


class Client:
    """One connection with one channel. What is sent lies in the network until ``hand_over``."""

    def __init__(self, broker: InProcessBroker, chance: random.Random, run_turn: Callable[[], bool]) -> None:
        self.broker = broker
        self.chance = chance
        self.run_turn = run_turn
        self.gone = False
        self._outbox = bytearray()
        self._handed_over = 0
        self._sent = 0
        self._taken_in: deque[tuple[int, Callable[[], None]]] = deque()
        self._inbox = bytearray()
        self._content: tuple[Any, int] | None = None
        self._header = b""
        self._body = b""
        self._answers: deque[Any] = deque()
        self.network = Network(chance.choice(UNREAD_SIZES_MAX))
        self.session = Session(broker)
        self.network.session = self.session
        self.session.connection_made(self.network)

    def open(self) -> None:
        """Do the handshake and open the channel."""
        self.send_bytes(PROTOCOL_HEADER)
        self.wait_for(Connection.Start)
        properties: Any = {"capabilities": ALL_CAPABILITIES}
        self.send(Connection.StartOk(properties, "PLAIN", "\0guest\0guest", "en_US"), channel=0)
        self.wait_for(Connection.Tune)
        self.send(Connection.TuneOk(10, FRAME_MAX, 0), channel=0)
        self.send(Connection.Open(virtual_host="/"), channel=0)
        self.wait_for(Connection.OpenOk)
        self.call(Channel.Open(), Channel.OpenOk)

    # What others do with it

    def on_delivery(self, method: Any, body: bytes) -> None:
        """Take a message."""
        raise Violation(f"nothing is sent that nobody asked for: {body[:40]!r}")

    def on_method(self, method: Any) -> bool:
        """Take a method that answers nothing. Returns whether it is one that may come."""
        return False

    def act(self) -> None:
        """Do one of the things that such a client does."""

    # Sending

    def send_bytes(self, data: bytes, taken_in: Callable[[], None] | None = None) -> None:
        """Put octets into the network; ``taken_in`` is called when the broker has read the last of them."""
        self._outbox += data
        self._sent += len(data)
        if taken_in is not None:
            self._taken_in.append((self._sent, taken_in))

    def send(self, method: Any, taken_in: Callable[[], None] | None = None, channel: int = CHANNEL) -> None:
        self.send_bytes(frame(constants.FRAME_METHOD, channel, method_payload(method)), taken_in)

    def publish(
        self, body: bytes, exchange: str, routing_key: str, persistent: bool, taken_in: Callable[[], None]
    ) -> None:
        properties = Basic.Properties(delivery_mode=2 if persistent else 1)
        method = method_payload(Basic.Publish(exchange=exchange, routing_key=routing_key))
        self.send_bytes(
            frame(constants.FRAME_METHOD, CHANNEL, method) + content(CHANNEL, body, properties, FRAME_MAX), taken_in
        )

    @property
    def can_hand_over(self) -> bool:
        return bool(self._outbox) and self.network.is_reading and not self.network.closed

    def hand_over(self, size: int) -> None:
        """Have the broker read some of what was sent."""
        size = min(size, len(self._outbox), self.broker.read_buffer.size_bytes)
        self.broker.read_buffer.view[:size] = self._outbox[:size]
        del self._outbox[:size]
        self.session.buffer_updated(size)
        self._handed_over += size
        while self._taken_in and self._taken_in[0][0] <= self._handed_over and not self.network.closed:
            self._taken_in.popleft()[1]()

    # Receiving

    def receive(self, size: int) -> None:
        """Read some of what the broker has sent."""
        self._inbox += self.network.take(size)
        while len(self._inbox) >= 7:
            frame_type, channel, payload_size = struct.unpack_from(">BHI", self._inbox)
            if len(self._inbox) < payload_size + 8:
                break
            payload = bytes(self._inbox[7 : 7 + payload_size])
            del self._inbox[: payload_size + 8]
            self._on_frame(Frame(frame_type, channel, payload))
        if self.network.closed and not self.network.sent:
            self.gone = True

    def _on_frame(self, arrived: Frame) -> None:
        if arrived.type == constants.FRAME_METHOD:
            method = arrived.method
            if isinstance(method, (Basic.Deliver, Basic.GetOk)):
                self._content = (method, -1)
            elif isinstance(method, (Connection.Close, Channel.Close)):
                if not self.broker.errors:
                    raise Violation(f"nobody is thrown out without a reason: {dict(method)}")
                self.gone = True
            elif not self.on_method(method):
                self._answers.append(method)
            return
        if self._content is None:
            raise Violation(f"content follows a method: {arrived}")
        method, left = self._content
        if arrived.type == constants.FRAME_HEADER:
            left, self._body = struct.unpack_from(">Q", arrived.payload, 4)[0], b""
            self._header = arrived.payload
        else:
            left -= len(arrived.payload)
            self._body += arrived.payload
        self._content = (method, left)
        if left == 0:
            self._content = None
            self.on_delivery(method, self._body)

    def delivery_count(self) -> int:
        """Return how often the message that came last has come back, as it says itself."""
        if DELIVERY_COUNT not in self._header:
            return 0
        headers: Any = Message(None, self._header, self._body).properties.headers
        count: int = headers[DELIVERY_COUNT.decode()]
        return count

    # Calls

    def call(self, method: Any, expected: Any, taken_in: Callable[[], None] | None = None) -> Any:
        """Send a method and wait for its answer, with the network as fast as can be."""
        self.send(method, taken_in)
        return self.wait_for(expected)

    def wait_for(self, expected: Any) -> Any:
        while not self._answers:
            progress = False
            while self.can_hand_over:
                progress = True
                self.hand_over(self.chance.randint(1, len(self._outbox)))
            progress = self.run_turn() or progress or bool(self.network.sent)
            self.receive(len(self.network.sent))
            if self.gone or self.broker.errors or (not progress and not self._answers):
                raise LifeEnded
        answer = self._answers.popleft()
        if not isinstance(answer, expected):
            raise Violation(f"{expected.name} is the answer, not {answer.name}")
        return answer

    def cut(self) -> None:
        """Be gone, without a word."""
        if not self.network.closed:
            self.network.close()
        self.gone = True
        self.session.connection_lost(None)
        self.on_gone()

    def on_gone(self) -> None:
        """Nothing more comes from the broker, nor goes to it."""
