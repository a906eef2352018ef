"""A connection: from the octets of a socket to its channels, and its life from the first octet to the last."""

from collections.abc import Callable
from typing import Any

import cython

from broker.address import format_endpoint
from broker.hooks import event_properties
from broker.hooks.events import INTERNAL_USER
from broker.logs import get_logger
from broker.session.channel import Channel
from broker.session.handshake import Handshake
from broker.session.methods import CHANNEL_METHODS
from broker.session.outlet import METHOD_WORK, WORK_PER_TURN_MAX
from broker.session.receiving import Receiver
from broker.session.unacked import ACKNOWLEDGE, REJECT, REQUEUE
from protocol.amqp import codec
from protocol.amqp.erlang_term import format_binary
from protocol.amqp.errors import (
    AMQPError,
    ChannelException,
    ConnectionException,
    channel_error,
    command_invalid,
    connection_forced,
    internal_error,
    not_allowed,
    unexpected_frame,
)
from protocol.amqp.methods import (
    BasicPublish,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionUnblocked,
    ConnectionUpdateSecret,
    ConnectionUpdateSecretOk,
    Method,
)
from protocol.amqp.reader import (
    FRAME_ACK,
    FRAME_BODY,
    FRAME_CONTENT,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    FRAME_NACK,
    FRAME_NONE,
    FRAME_PUBLISH,
    FRAME_REJECT,
)
from storage.errors import JournalFailed

log = get_logger("connection")

MULTIPLE = 1
NACK_REQUEUE = 2
REJECT_REQUEUE = 1

STATE_PREAMBLE = 0  # the protocol header is awaited
STATE_HANDSHAKE = 1
STATE_RUNNING = 2
STATE_CLOSING = 3  # connection.close was sent, close-ok is awaited
STATE_CLOSED = 4

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
# The header of AMQP 0-9, which differs from 0-9-1 in nothing that matters here; RabbitMQ accepts it too.
PROTOCOL_HEADER_0_9 = b"AMQP\x01\x01\x00\x09"

# The largest frame before the client has agreed to another limit: connection.start-ok has to fit.
INITIAL_FRAME_MAX_BYTES = 8192

# How often the read buffer may be filled with parts of one body before others have their turn.
FULL_READS_MAX = 4

# How long the peer has to answer connection.close, and how long what it still sends is swallowed after a fatal
# error, so that it can read why (a socket closed with unread input resets the connection).
CLOSE_TIMEOUT_S = 30.0
LINGER_S = 3.0


class Connection(Receiver):
    """One client.

    Nothing that a peer sends may raise out of ``receive``: a violation of the protocol closes the channel or
    the connection, with the code and the text that RabbitMQ would use.
    """

    def __init__(self, broker: Any) -> None:
        super().__init__(broker, INITIAL_FRAME_MAX_BYTES)
        self.vhost: Any = None
        self.user: Any = None
        self.channels: dict[int, Channel] = {}
        self.state = STATE_PREAMBLE
        self.handshake: Handshake | None = None
        self.mechanism = ""
        self.client_properties: dict[str, Any] = {}
        self.channel_max = 0
        self.heartbeat_s = 0
        self.peer: Any = None
        self.name = ""
        self.opened_at: Any = None
        self._preamble = b""
        self._close_reason = ""
        self._deaf = False
        self._full_reads = 0
        self._received_since_tick = False
        self._received_at = 0.0
        self._sent_at = 0.0
        self._deadline = 0.0
        self._channel: Any = None
        self._channel_number = 0

    # The event loop's side

    def connection_made(self, transport: Any) -> None:
        """Begin the handshake."""
        self.attach(transport)
        self.peer = transport.get_extra_info("peername")
        self.name = f"{format_endpoint(self.peer)} -> {format_endpoint(transport.get_extra_info('sockname'))}"
        now = self.broker.now()
        self.opened_at = now
        self._received_at = self._sent_at = now
        self._deadline = now + self.broker.configuration.handshake_timeout_ms / 1000
        if not self.broker.admit(self):
            transport.abort()
            return
        self.counters.connections_opened += 1
        log.debug("connection accepted", connection=self.name)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """Give back everything that the client held."""
        abrupt = self.state != STATE_CLOSED
        self.state = STATE_CLOSED
        self.transport = None
        self.descriptor = -1
        if self.sockets is not None:
            self.sockets.remove(self)
        # Each refers to the other, and nobody else would part them.
        self.handshake = None
        self.output.release()
        try:
            self._end_channels()
        finally:
            if self.vhost is not None:
                self.vhost.exclusive_queues.delete_all(self)
        if self.broker.dismiss(self):
            self.counters.connections_closed += 1
            self.broker.events.tell("connection.closed", event_properties.connection_closed, self)
            reason = self._close_reason or ("client closed the socket without connection.close" if abrupt else "")
            log.info(
                "connection closed",
                connection=self.name,
                client=self.client_name(),
                reason=reason or None,
                seconds=round(self.broker.now() - self.opened_at, 3),
            )

    def receive(self, size: cython.Py_ssize_t) -> int:
        """Take in ``size`` octets that are in the read buffer."""
        self._received_since_tick = True
        self.counters.bytes_received += size
        if self._deaf or self.state == STATE_CLOSED:
            return 0
        if self.state == STATE_PREAMBLE:
            self._take_preamble(bytes(self._read_buffer.view[:size]))
            return 0
        self.work_left = WORK_PER_TURN_MAX
        self.reader.feed(self._read_buffer, size)
        self._process()
        if size < self._read_buffer.size_bytes:
            self._full_reads = 0
        elif not self._suspended:
            # There is more to read. It is the turn of others first, but that a part of a large body is no work.
            self._full_reads += 1
            if self._full_reads >= FULL_READS_MAX or self._channel is None or self._channel.received_of_body() < size:
                self._full_reads = 0
                self._rest()
        return 0

    def resume_writing(self) -> None:
        """Go on: the peer has taken what was waiting for it."""
        self.congested = False
        self.flush()
        if self.congested:
            return
        self._read_on()
        for channel in list(self.channels.values()):
            channel.wake_consumers()

    # Frames

    def _process(self) -> int:
        while True:
            try:
                self._process_frames()
                break
            except ChannelException as error:
                if self.reader.kind in _CONTENT_KINDS:
                    error.of_method(_PUBLISH)
                self.close_channel(self.reader.channel, error)
            except ConnectionException as error:
                self.close_for(error)
            except Exception as error:  # noqa: BLE001 (told of there)
                self.fail(error)
            if self._deaf:
                return 0
        self.reader.keep_tail()
        return 0

    def _process_frames(self) -> int:
        reader = self.reader
        while not self._suspended and not self._resting and not self._deaf:
            kind = reader.next()
            if kind == FRAME_NONE:
                return 0
            if self.state != STATE_RUNNING or reader.channel == 0:
                self._control_frame(kind)
                continue
            if reader.channel != self._channel_number:
                self._find_channel(reader.channel)
            self._dispatch(kind)
            if self.work_left <= 0:
                self._rest()
        return 0

    def _dispatch(self, kind: cython.int) -> int:
        """Hand the current frame to its channel."""
        reader = self.reader
        channel = self._channel
        if not channel.is_open:
            if not channel.close_sent and kind != FRAME_METHOD:
                raise (
                    channel_error("expected 'channel.open'")
                    if kind in _METHODS
                    else unexpected_frame("expected method frame, got non method frame instead")
                )
            if kind == FRAME_METHOD:
                self._method_on_closed(channel, codec.decode_method(reader.payload_octets()))
            return 0
        if kind == FRAME_CONTENT:
            channel.receive_content(reader)
            if self.turn.publishers_blocked:
                self.block()
        elif kind == FRAME_ACK:
            channel.check_no_content()
            channel.settle(reader.delivery_tag, (reader.flags & MULTIPLE) != 0, ACKNOWLEDGE, 80)
        elif kind == FRAME_BODY:
            channel.receive_body(reader)
        elif kind == FRAME_HEADER:
            channel.receive_header(reader)
        elif kind == FRAME_PUBLISH:
            channel.receive_publish(reader)
            if self.turn.publishers_blocked:
                self.block()
        elif kind == FRAME_NACK:
            channel.check_no_content()
            flags = reader.flags
            how = REQUEUE if flags & NACK_REQUEUE else REJECT
            channel.settle(reader.delivery_tag, (flags & MULTIPLE) != 0, how, 120)
        elif kind == FRAME_REJECT:
            channel.check_no_content()
            how = REQUEUE if reader.flags & REJECT_REQUEUE else REJECT
            channel.settle(reader.delivery_tag, False, how, 90)
        elif kind == FRAME_HEARTBEAT:
            raise unexpected_frame("type 8, all octets = <<>>")
        else:
            channel.check_no_content()
            self.work_left -= METHOD_WORK
            self._method(channel, codec.decode_method(reader.payload_octets()))
        return 0

    def _find_channel(self, number: cython.uint) -> int:
        """Make ``number`` the current channel. A frame on an unknown one makes it, as in RabbitMQ."""
        channel = self.channels.get(number)
        if channel is None:
            count = len(self.channels)
            if self.channel_max and count >= self.channel_max:
                raise not_allowed(
                    f"number of channels opened ({count}) has reached the negotiated channel_max ({self.channel_max})"
                )
            channel = Channel(self, number, self.vhost, self.broker.configuration.max_message_size_bytes)
            self.channels[number] = channel
        self._channel = channel
        self._channel_number = number
        return 0

    def _method(self, channel: Channel, method: Method) -> None:
        handle = CHANNEL_METHODS.get(type(method))
        if handle is None:
            raise command_invalid("unimplemented method", method.class_id, method.method_id)
        events = self.broker.events
        events.acting_user = self.user.name
        try:
            handle(channel, method)
        except AMQPError as error:
            raise error.of_method(method) from None
        finally:
            events.acting_user = INTERNAL_USER

    def _method_on_closed(self, channel: Channel, method: Method) -> None:
        if channel.close_sent:
            if type(method) is ChannelCloseOk:
                self.forget_channel(channel)
            elif type(method) is ChannelClose:
                self.send_method(channel.number, ChannelCloseOk())
        elif type(method) is ChannelOpen:
            self._method(channel, method)
        else:
            raise channel_error("expected 'channel.open'", method.class_id, method.method_id)

    def _control_frame(self, kind: cython.int) -> None:
        """Take a frame of channel 0, or any frame while the connection is not running."""
        reader = self.reader
        if kind == FRAME_HEARTBEAT and reader.channel == 0:
            return
        if self.state == STATE_CLOSING:
            if kind == FRAME_METHOD and reader.channel == 0:
                method = codec.decode_method(reader.payload_octets())
                if type(method) is ConnectionClose:
                    self.send_method(0, ConnectionCloseOk())
                elif type(method) is ConnectionCloseOk:
                    self._end()
            return
        if kind != FRAME_METHOD or reader.channel != 0:
            if kind in _METHODS and reader.channel == 0:
                raise channel_error(f"unexpected method in connection state {self._state_name()}")
            payload = b"" if kind == FRAME_HEARTBEAT else reader.payload_octets()
            frame_type = 2 if kind == FRAME_HEADER else 3 if kind == FRAME_BODY else 8 if kind == FRAME_HEARTBEAT else 1
            shown = "all" if len(payload) <= 16 else "first 16"
            raise unexpected_frame(f"type {frame_type}, {shown} octets = {format_binary(payload[:16])}")
        method = codec.decode_method(reader.payload_octets())
        if type(method) is ConnectionClose:
            self._close_reason = f"closed by client: {method.reply_code} {method.reply_text}"
            self._deaf = True
            if self.vhost is not None:
                # As in RabbitMQ, what was exclusive is gone before the client hears that it may go.
                self._end_channels(self._delete_exclusive_queues)
            else:
                self._answer_close()
        elif self.handshake is not None:
            self.handshake.receive(method)
        elif type(method) is ConnectionUpdateSecret:
            self.send_method(0, ConnectionUpdateSecretOk())
        else:
            text = f"unexpected method in connection state {self._state_name()}"
            raise channel_error(text, method.class_id, method.method_id)

    def _state_name(self) -> str:
        return "running" if self.handshake is None else self.handshake.state

    def _take_preamble(self, octets: bytes) -> None:
        self._preamble += octets
        if len(self._preamble) < len(PROTOCOL_HEADER):
            return
        header, rest = self._preamble[:8], self._preamble[8:]
        self._preamble = b""
        if header not in (PROTOCOL_HEADER, PROTOCOL_HEADER_0_9):
            self._close_reason = f"unknown protocol header {header!r}"
            self.output.octets(PROTOCOL_HEADER)
            self._end()
            return
        self.state = STATE_HANDSHAKE
        self.handshake = Handshake(self)
        self.handshake.begin()
        if rest:
            self.reader.keep(rest)
            self.reader.feed_tail()
            self._process()

    # Sending

    def send_method(self, channel: cython.uint, method: Method) -> None:
        """Send a method at the end of the turn."""
        self.send_payload(channel, codec.encode_method(method))

    def send_payload(self, channel: cython.uint, payload: bytes) -> None:
        """Send a method that is encoded already."""
        self.output.method(channel, payload)
        self.written()

    # The end

    def close_channel(self, number: int, error: AMQPError) -> None:
        """Close a channel for an error. What it held is given back before the client hears of it."""
        channel = self.channels.get(number)
        if channel is None:
            self.close_for(error)
            return
        log.warning("channel error", connection=self.name, channel=number, error=error.reply_text)
        close = ChannelClose(
            reply_code=error.reply_code,
            reply_text=error.reply_text,
            failing_class_id=error.class_id,
            failing_method_id=error.method_id,
        )

        def ended() -> None:
            # Unless the connection is being closed as a whole by now.
            if self.state == STATE_RUNNING:
                channel.close_sent = True
                self.send_method(number, close)

        channel.end(ended)

    def forget_channel(self, channel: Channel) -> None:
        """Make the number of a channel that has ended free again."""
        self.channels.pop(channel.number, None)
        if self._channel_number == channel.number:
            self._channel = None
            self._channel_number = 0

    def fail(self, error: Exception) -> None:
        """End with a failure of the broker: that of a journal, or a mistake of ours, which nobody else is to notice."""
        if isinstance(error, JournalFailed):
            self.close_for(internal_error(f"journal failed: {error}"))
        else:
            log.error("internal error", connection=self.name, exc_info=error)
            self.close_for(internal_error("internal error"))

    def close_for(self, error: AMQPError) -> None:
        """Close the connection for an error, with connection.close where the client may be told."""
        if self.state >= STATE_CLOSING:
            # It goes on violating the protocol; there is nothing more to say.
            self._deaf = True
            return
        log.error("connection error", connection=self.name, client=self.client_name(), error=error.reply_text)
        self._close_reason = error.reply_text
        told = self.handshake is None or self.handshake.may_be_told(error)
        self._end_channels()
        self.state = STATE_CLOSING
        self._deaf = self.reader.lost or not told
        self._deadline = self.broker.now() + (LINGER_S if self._deaf else CLOSE_TIMEOUT_S)
        if told:
            self.send_method(
                0,
                ConnectionClose(
                    reply_code=error.reply_code,
                    reply_text=error.reply_text,
                    failing_class_id=error.class_id,
                    failing_method_id=error.method_id,
                ),
            )
        else:
            self._end()

    def close_by_broker(self, reason: str) -> None:
        """Close with CONNECTION_FORCED; ``reason`` follows that word in the text."""
        if self.state == STATE_RUNNING:
            self.close_for(connection_forced(reason))
        elif self.state < STATE_CLOSING:
            self._close_reason = reason
            self._end()

    def opened(self, vhost: Any) -> None:
        """Become usable: the handshake is over."""
        self.vhost = vhost
        self.mechanism = "" if self.handshake is None else self.handshake.mechanism_name
        self.handshake = None
        self.state = STATE_RUNNING
        self.broker.events.tell("connection.created", event_properties.connection_created, self)

    def _end_channels(self, finished: Callable[[], Any] | None = None) -> None:
        """End all channels, and call ``finished`` when what they held is given back."""
        channels = list(self.channels.values())
        self.channels.clear()
        self._channel = None
        self._channel_number = 0
        if channels:
            _end_all(channels, finished)
        elif finished is not None:
            finished()

    def _delete_exclusive_queues(self) -> None:
        self.vhost.exclusive_queues.delete_all(self, self._answer_close)

    def _answer_close(self) -> None:
        """Answer connection.close, unless the broker itself has closed the connection meanwhile, or it is lost."""
        if self.state < STATE_CLOSING:
            self.send_method(0, ConnectionCloseOk())
            self._end()

    def _end(self) -> None:
        """Send what there is to send, and close the socket."""
        self.state = STATE_CLOSED
        if self.transport is not None:
            self.flush()
            self._deaf = True
            self._deadline = self.broker.now() + CLOSE_TIMEOUT_S
            if self.transport is not None:
                if self.output.size_bytes:
                    self.transport.writelines(self.output.take_parts())
                self.descriptor = -1
                self.reading = False
                self.transport.close()

    # Pausing

    def block(self) -> None:
        """Read nothing more from this publisher until the broker has resources again."""
        if not self.blocked:
            self.blocked = True
            if self.capabilities.get("connection.blocked") is True:
                self.send_method(0, ConnectionBlocked(reason=self.broker.alarm_reason()))
            self._suspend()

    def unblock(self) -> None:
        """Read on."""
        if self.blocked:
            self.blocked = False
            if self.capabilities.get("connection.blocked") is True:
                self.send_method(0, ConnectionUnblocked())
            self._read_on()

    # Time

    def tick(self, now: float) -> None:
        """Look after heartbeats and time limits; called a few times a second. ``now`` is in seconds."""
        if self._received_since_tick:
            self._received_since_tick = False
            self._received_at = now
        if self.sent_since_tick:
            self.sent_since_tick = False
            self._sent_at = now
        if self.state != STATE_RUNNING:
            if now >= self._deadline and self.transport is not None:
                late = "handshake timeout" if self.state < STATE_CLOSING else "client does not take what is left"
                self._close_reason = self._close_reason or late
                self.transport.abort()
            return
        if self.heartbeat_s:
            if now - self._sent_at >= self.heartbeat_s / 2:
                self.output.heartbeat()
                self.written()
            # What the broker does not read by its own decision is no sign of death.
            if self._suspended:
                self._received_at = now
            elif now - self._received_at > 2 * self.heartbeat_s:
                self._close_reason = f"missed heartbeats from client, timeout: {self.heartbeat_s}s"
                self.transport.abort()

    def client_name(self) -> str | None:
        """Return the name that the client gave itself, or its product."""
        name = self.client_properties.get("connection_name") or self.client_properties.get("product")
        return str(name) if name else None


_PUBLISH = BasicPublish()
_CONTENT_KINDS = frozenset((FRAME_PUBLISH, FRAME_CONTENT, FRAME_HEADER, FRAME_BODY))
_METHODS = frozenset((FRAME_METHOD, FRAME_PUBLISH, FRAME_CONTENT, FRAME_ACK, FRAME_NACK, FRAME_REJECT))


def _end_all(channels: list[Channel], finished: Callable[[], Any] | None) -> None:
    failure: Exception | None = None
    left = len(channels) + 1

    def ended() -> None:
        nonlocal left
        left -= 1
        if left == 0 and finished is not None:
            finished()

    for channel in channels:
        # Should one of them fail, the others end all the same.
        try:
            channel.end(ended)
        except Exception as error:  # noqa: BLE001 (raised below)
            failure = failure or error
    ended()
    if failure is not None:
        raise failure
