"""When nothing is read from a connection: what it has sent already is kept, and the rest waits in the socket."""

from broker.metrics.counters import Counters
from broker.session.outlet import WORK_PER_TURN_MAX, Outlet
from broker.turn import Turn
from protocol.amqp.reader import FrameReader

# When so many replies wait on all channels of a connection, nothing more is read until half of them are out.
REPLIES_WAITING_MAX = 1_000


class PausingReader(Outlet):
    """The receiving side of a connection, as far as it is about waiting.

    It *rests* until the turn ends, so that others have theirs. It is *suspended* while the broker has no resources for
    what a publisher sends (``blocked``), while the peer does not read (``congested``), and as long as somebody *holds*
    it because something has to be finished first.
    """

    def __init__(self, turn: Turn, counters: Counters, frame_max: int) -> None:
        super().__init__(turn, counters, frame_max)
        self.reader = FrameReader(frame_max)
        self.blocked = False
        self._suspended = False
        self._resting = False
        self._hold_count = 0
        self._replies_waiting = 0
        self._replies_hold = False

    def _process(self) -> int:
        """Take the frames that were read."""
        raise NotImplementedError

    def over_limit(self) -> None:
        """Read no more from a peer that does not read what it is sent."""
        self._suspend()

    def hold(self) -> None:
        """Read nothing more until ``release`` is called as often."""
        self._hold_count += 1
        self._suspend()

    def release(self) -> None:
        """Read on at the end of the turn, unless there is something else against it."""
        self._hold_count -= 1
        if not self._hold_count:
            self.turn.want_step(self._read_on)

    def count_waiting(self, count: int) -> None:
        """Take in that on a channel so many replies more have to wait, or less."""
        self._replies_waiting += count
        if not self._replies_hold and self._replies_waiting >= REPLIES_WAITING_MAX:
            self._replies_hold = True
            self.hold()
        elif self._replies_hold and self._replies_waiting <= REPLIES_WAITING_MAX // 2:
            self._replies_hold = False
            self.release()

    def _read_on(self) -> None:
        if self._suspended and not (self.blocked or self.congested or self._hold_count):
            self._resume()

    def _stop_reading(self) -> int:
        if self.sockets is not None:
            self.reading = False
        else:
            self.transport.pause_reading()
        return 0

    def _rest(self) -> int:
        """Do nothing more before the end of the turn."""
        if not self._resting and self.transport is not None:
            self._stop_reading()
            self._resting = True
            self.turn.want_end(self)
        return 0

    def end_turn(self) -> int:
        """Send, and read on."""
        if self._resting:
            self._resting = False
            if not self._suspended and self.transport is not None:
                self._resume()
        return Outlet.end_turn(self)

    def _suspend(self) -> None:
        if not self._suspended and self.transport is not None:
            self._suspended = True
            self._stop_reading()

    def _resume(self) -> None:
        self._suspended = False
        if self._resting or self.transport is None:
            return
        if self.reader.tail_bytes:
            self.work_left = WORK_PER_TURN_MAX
            self.reader.feed_tail()
            self._process()
        if not self._suspended and not self._resting and self.transport is not None:
            if self.sockets is not None:
                self.sockets.resume(self)
            else:
                self.transport.resume_reading()
