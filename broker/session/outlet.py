"""The sending side of a connection: one buffer, one write per turn, and what happens when the peer does not read."""

from collections import deque
from typing import Any

import cython

from broker.metrics.counters import Counters
from broker.session.sockets import SocketReader
from broker.session.tls import TlsTransport
from broker.turn import Turn
from protocol.amqp.writer import OutputBuffer

if not cython.compiled:
    from broker.session.transmit import transmit

# What has gathered is sent before the turn ends once it is this large, so that it stays in the processor's cache
# and the peer can begin.
FLUSH_SIZE_BYTES = 64 * 1024

# What may wait for a peer that does not read, before nothing more is read from it.
OUTPUT_SIZE_MAX_BYTES = 1024 * 1024

# What the frames of a connection may cost in a turn before others have theirs: so many messages may be put into one of
# several queues, which takes a quarter of a microsecond with a consumer. What else is counted costs about as much as so
# many of those; a publish whose route is known to one queue that asks for nothing costs next to nothing.
WORK_PER_TURN_MAX = 20_000
METHOD_WORK = 200
ROUTE_WORK = 20
ASKING_WORK = 10


class Outlet(SocketReader):
    """Where a connection's frames go out.

    An outlet is *congested* while the transport holds octets that the socket did not take: consumers get nothing
    then, and what else is written waits in ``output``.
    """

    def __init__(self, turn: Turn, counters: Counters, frame_max: int) -> None:
        super().__init__()
        self.output = OutputBuffer()
        self.transport: Any = None
        self.tls: TlsTransport | None = None
        self.descriptor = -1
        self.congested = False
        self.capabilities: dict[str, Any] = {}
        self.frame_max = frame_max
        self.sent_since_tick = False
        self.work_left = WORK_PER_TURN_MAX
        self.turn = turn
        self.counters = counters
        self._confirming: deque[Any] = deque()

    def attach(self, transport: Any) -> int:
        """Send over ``transport`` from now on."""
        self.transport = transport
        if isinstance(transport, TlsTransport):
            self.tls = transport
        else:
            self.descriptor = transport.get_extra_info("socket").fileno()
            transport.set_write_buffer_limits(high=0)
        return 0

    def written(self) -> int:
        """Take notice that something was appended to ``output``; it is sent by the end of the turn."""
        if self.output.size_bytes >= FLUSH_SIZE_BYTES and not self.congested:
            self.flush()
        elif self.output.size_bytes > OUTPUT_SIZE_MAX_BYTES:
            self.over_limit()
        elif not self.end_of_turn_wanted:
            self.turn.want_end(self)
        return 0

    def over_limit(self) -> None:
        """Do something about a peer that does not read what it asks for; called until it does."""
        raise NotImplementedError

    def tells_cancellations(self) -> bool:
        """Return whether the client wants to know when a consumer is cancelled by the broker."""
        return self.capabilities.get("consumer_cancel_notify") is True

    def flush(self) -> int:
        """Send what has gathered, as far as the peer takes it."""
        size = self.output.size_bytes
        if size == 0 or self.congested:
            return 0
        if self.transport is None:
            self.output.release()
            return 0
        self.sent_since_tick = True
        self.counters.bytes_sent += size
        if self.tls is not None:
            return self.tls.send(self.output)
        if self.descriptor >= 0 and transmit(self.descriptor, self.output) < 0:
            # The peer is gone. The transport will say so; what was meant for it is void.
            self.output.release()
            self.transport.abort()
            return 0
        if self.output.size_bytes:
            self.transport.writelines(self.output.take_parts())
        return 0

    def owes_confirms(self, channel: Any) -> None:
        """Have ``channel.write_confirms()`` called at the end of the turn."""
        self._confirming.append(channel)
        self.turn.want_end(self)

    def end_turn(self) -> int:
        """Write the confirms that are due, and send."""
        if self._confirming:
            complete: cython.bint = False
            # What is written here goes out at once, and asks for no turn of its own.
            self.end_of_turn_wanted = True
            try:
                while self._confirming:
                    self._confirming.popleft().write_confirms()
                complete = True
            finally:
                self.end_of_turn_wanted = False
                if not complete:
                    # The others, and what is written already, are no worse off for it than by one turn.
                    self.turn.want_end(self)
        return self.flush()

    def pause_writing(self) -> None:
        """The transport could not get rid of everything (called by the event loop)."""
        self.congested = True

    def resume_writing(self) -> None:
        """The transport is empty again (called by the event loop)."""
        self.congested = False
        self.flush()
