"""A broker's sessions, virtual host and journal in this process: no sockets, no event loop, and time as one likes.

Octets go into a real ``Connection`` and come out of it, so everything between the wire and the disk is the real
thing; the turns of the event loop, the commits and the passing of time happen when the test says so.
"""

import select
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from broker import clock
from broker.configuration import Configuration
from broker.metrics.counters import Counters
from broker.paging.page_out import PageOut
from broker.session.connection import Connection
from broker.turn import Turn
from broker.vhost import VirtualHost
from protocol.amqp.reader import ReadBuffer
from storage.machine import Machine
from storage.options import JournalOptions
from tests.support.raw_client import RawClient
from tests.support.unsynced import unsynced_machine

BEGINNING_MS = 1_700_000_000_000
OPTIONS = JournalOptions(segment_size=1 << 16, first_segment_size=1 << 16)
COMMIT_TIMEOUT_S = 10.0
READ_BUFFER_SIZE_BYTES = 1 << 18


class Anybody:
    """A user who may do everything."""

    name = "guest"

    def may_enter(self, vhost: str) -> bool:
        return True

    def may(self, vhost: str, permission: str, name: str) -> bool:
        return True


@dataclass
class Alarm:
    """A call that the loop owes to somebody at a time."""

    at_ms: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Loop:
    """What the broker needs of an event loop; nothing runs by itself."""

    ready: list[Callable[[], Any]] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    readers: dict[int, Callable[[], Any]] = field(default_factory=dict)

    def call_soon(self, callback: Callable[[], Any]) -> None:
        self.ready.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Alarm:
        self.alarms.append(Alarm(clock.now_ms() + delay_s * 1000, callback))
        return self.alarms[-1]

    def add_reader(self, descriptor: int, callback: Callable[[], Any]) -> None:
        self.readers[descriptor] = callback

    def remove_reader(self, descriptor: int) -> None:
        del self.readers[descriptor]

    def ring(self) -> bool:
        """Make the calls that are due. Returns whether there were any."""
        self.alarms = [alarm for alarm in self.alarms if not alarm.cancelled]
        due = [alarm for alarm in self.alarms if alarm.at_ms <= clock.now_ms()]
        self.alarms = [alarm for alarm in self.alarms if alarm not in due]
        for alarm in due:
            if not alarm.cancelled:
                alarm.callback()
        return bool(due)


class Transport:
    """The transport of a connection whose client is in this process."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closed = False

    def get_extra_info(self, name: str) -> Any:
        return SimpleNamespace(fileno=lambda: -1) if name == "socket" else None

    def set_write_buffer_limits(self, high: int) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def writelines(self, parts: Iterable[bytes | memoryview]) -> None:
        self.write(b"".join(parts))

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    abort = close


class InProcessBroker:
    """One virtual host in ``directory``; time stands still except for ``pass_time``.

    Nothing is synced unless the ``machine`` does.
    """

    def __init__(
        self,
        directory: Path,
        machine: Machine | None = None,
        options: JournalOptions = OPTIONS,
        time_ms: int = BEGINNING_MS,
        message_memory_bytes: int = sys.maxsize,
    ) -> None:
        self.directory = directory
        self.machine = machine or unsynced_machine()
        self.options = options
        self.message_memory_bytes = message_memory_bytes
        self.configuration = Configuration(data_dir=str(directory))
        self.cluster_name = "in process"
        self.read_buffer = ReadBuffer(READ_BUFFER_SIZE_BYTES, READ_BUFFER_SIZE_BYTES)
        self.clients: list[InProcessClient] = []
        self.errors: list[Exception] = []
        clock.stand_still(time_ms)
        self.start()

    def start(self) -> None:
        """Open the virtual host from its journal; nothing is due before the first turn."""
        self.loop = Loop()
        self.turn = self.new_turn()
        self.counters = Counters()
        self.vhost = VirtualHost.open(
            "/",
            self.directory,
            self.turn,
            self.counters,
            self.options,
            lambda _, error: self.errors.append(error),
            PageOut(self.turn, self.message_memory_bytes),
            self.machine,
        )
        self.events = self.vhost.events
        self.vhosts = {"/": self.vhost}
        self.vhost.attach(self.loop, self.loop.add_reader)  # type: ignore[arg-type]

    def new_turn(self) -> Turn:
        """Return what is put off to the end of the loop's turn."""
        return Turn(self.loop.call_soon)

    def crash(self) -> None:
        """Leave the journal as it is on disk, and forget everything else."""
        self.vhost.timers.close()
        self.vhost.journal.journal.abandon()
        self.clients.clear()

    def stop(self) -> None:
        """End cleanly."""
        for client in self.clients:
            client.cut()
        self.clients.clear()
        self.settle()
        self.vhost.close(self.loop)  # type: ignore[arg-type]

    def turns(self) -> None:
        """Let the event loop go on until it has nothing to do."""
        while self.loop.ready or self.loop.ring():
            self.pass_turn()

    def pass_turn(self) -> None:
        """Let the event loop make the calls that have gathered, and none that come meanwhile."""
        ready, self.loop.ready = self.loop.ready, []
        for callback in ready:
            callback()

    def settle(self) -> None:
        """Let everything be done that is under way, commits and reading included."""
        self.turns()
        journal = self.vhost.journal.journal
        while journal.in_flight_seconds or journal.gathering_bytes or self.vhost.pager.reading_count:
            readable, _, _ = select.select([journal.completion_fd], [], [], COMMIT_TIMEOUT_S)
            assert readable, "neither commit nor reading ends"
            journal.on_commit_finished()
            self.turns()

    def pass_time(self, duration_ms: int) -> None:
        """Let time pass."""
        clock.stand_still(clock.now_ms() + duration_ms)
        self.settle()

    def pass_clock(self, duration_ms: int) -> None:
        """Let time pass while nobody looks, as when the broker is down."""
        clock.stand_still(clock.now_ms() + duration_ms)

    def connect(self) -> "InProcessClient":
        """Open a connection."""
        client = InProcessClient(self)
        self.clients.append(client)
        client.open()
        return client

    # What a connection asks of its broker

    def now(self) -> float:
        return clock.now_ms() / 1000

    def admit(self, connection: Connection) -> bool:
        return True

    def dismiss(self, connection: Connection) -> bool:
        return True

    def authenticate(self, credentials: Any, peer: Any) -> tuple[Any, str]:
        return Anybody(), ""


class InProcessClient(RawClient):
    """A raw client at the other end of a function call."""

    def __init__(self, broker: InProcessBroker) -> None:
        self.broker = broker
        self.frame_max = 131072
        self.tune = None
        self._buffer = b""
        self._frames = deque()
        self.transport = Transport()
        self.connection = Connection(broker)
        self.connection.connection_made(self.transport)

    def send_bytes(self, data: bytes) -> None:
        if not self.transport.closed:
            self.broker.read_buffer.view[: len(data)] = data
            self.connection.buffer_updated(len(data))

    def receive_bytes(self) -> bytes:
        if not self.transport.sent:
            self.broker.settle()
        data = bytes(self.transport.sent)
        self.transport.sent.clear()
        return data

    def cut(self) -> None:
        """Be gone, without a word."""
        self.transport.closed = True
        self.connection.connection_lost(None)
        self.broker.settle()
