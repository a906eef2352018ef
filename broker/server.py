"""The broker as a whole: how it starts, what it holds, and how it ends."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broker import allocator, collector
from broker.access.backends import load_backends
from broker.access.sasl import Credentials
from broker.access.users import Authenticator, User
from broker.address import format_address, parse_address
from broker.alarms import Alarms
from broker.busy_poll import busy_poll
from broker.configuration import Configuration, ConfigurationError
from broker.free_space import DiskAlarm
from broker.hooks import event_properties, interceptors, queue_arguments
from broker.hooks.events import Events
from broker.journal_watch import JournalWatch, JournalWatches
from broker.listener import BACKLOG, FamilyMissingError, PortInUseError, bind, bound_address
from broker.logs import get_logger
from broker.memory import MemoryAlarm
from broker.metrics.counters import Counters
from broker.metrics.http import MetricsServer
from broker.metrics.loop_lag import LoopLag
from broker.paging.page_out import PageOut
from broker.routing import registry
from broker.session import consumer_timeouts
from broker.session.connection import Connection
from broker.session.sockets import Sockets
from broker.session.tls import TlsTransport
from broker.tls import load_context
from broker.turn import Turn
from broker.version import VERSION
from broker.vhost import VirtualHost
from protocol.amqp.errors import internal_error
from protocol.amqp.reader import ReadBuffer
from storage.errors import JournalFailed
from storage.lock import DirectoryLock
from storage.options import JournalOptions
from storage.scrubber import Scrubber, ScrubberOptions

log = get_logger("broker")

# What is read of one connection before others have their turn: of the smallest messages a half of a millisecond.
READ_BUFFER_SIZE_BYTES = 128 * 1024
# What is read of a TLS connection at once: the smallest records take a hundred times as long as plain octets.
SEALED_BUFFER_SIZE_BYTES = 64 * 1024
# Where nothing else is configured: the most that messages in queues take in memory, and their share of what the broker
# may have before publishers are blocked.
MESSAGE_MEMORY_MAX_BYTES = 256 * 1024 * 1024
MESSAGE_MEMORY_DIVISOR = 4
PROGRESS_STEP_PERCENT = 10
TICK_S = 0.25
TICK_MS = 250
TICKS_PER_CONSUMER_CHECK = 4
TICKS_PER_RETRY = 4
DESCRIPTORS_RESERVED = BACKLOG + 256
# How long the event loop waits for a thread that runs Python, which only scrapes do, to let go of the interpreter.
SWITCH_INTERVAL_S = 0.001


class Broker:
    """One broker. ``run()`` is its whole life."""

    def __init__(self, configuration: Configuration) -> None:
        """Prepare."""
        self.configuration = configuration
        self.cluster_name = configuration.cluster_name
        self.counters = Counters()
        self.vhosts: dict[str, VirtualHost] = {}
        self.connections: set[Connection] = set()
        self.handshakes: set[TlsTransport] = set()
        self.read_buffer = ReadBuffer(READ_BUFFER_SIZE_BYTES, configuration.frame_max_bytes + 1024)
        self.sealed_buffer = ReadBuffer(SEALED_BUFFER_SIZE_BYTES, 0)
        self.tls_context: ssl.SSLContext
        self.loop_lag = LoopLag()
        self.state = "starting"
        self.journal_failure: str | None = None
        self.recovering: str | None = None
        self.sockets: Sockets
        self.turn: Turn
        self.events: Events
        self.page_out: PageOut
        self.loop: asyncio.AbstractEventLoop
        self.memory = MemoryAlarm(configuration.memory_high_watermark_bytes, configuration.memory_high_watermark_ratio)
        self.journal_watches = JournalWatches()
        self.disk = DiskAlarm(
            configuration.data_dir,
            configuration.disk_free_limit_bytes,
            self._measure_disk,
            self.journal_watches.taken_bytes,
        )
        self.alarms = Alarms([self.memory, self.disk])
        self._authenticator = Authenticator(configuration.users)
        self._connections_max = min(configuration.connections_max, _raise_descriptor_limit())
        self._listeners: list[socket.socket] = []
        self._tls_listeners: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._metrics = MetricsServer(self)
        self._started_at = 0.0
        self._stopping: asyncio.Event

    # Life

    async def run(self) -> None:
        """Start, serve until SIGTERM or SIGINT, and stop.

        Raises ``ConfigurationError``, ``PortInUseError``, ``ExtensionError``, ``storage.errors.JournalError`` and
        ``OSError`` where it cannot start.
        """
        allocator.configure()
        collector.load()
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(_log_exception)
        self.sockets = Sockets(self.loop, self.read_buffer)
        self.turn = Turn(self.sockets.call_soon, busy_poll(self.loop.call_soon, self.configuration.busy_poll_us))
        self.events = Events(self.turn)
        self._started_at = self.loop.time()
        self._stopping = asyncio.Event()
        self.page_out = PageOut(
            self.turn,
            self.configuration.message_memory_bytes
            or min(MESSAGE_MEMORY_MAX_BYTES, self.memory.limit_bytes // MESSAGE_MEMORY_DIVISOR),
        )
        directory = Path(self.configuration.data_dir)
        directory.mkdir(parents=True, exist_ok=True)
        with DirectoryLock(directory):
            try:
                await self._start()
                await self._stopping.wait()
                await self._close_connections()
            finally:
                self.state = "stopped"
                await self._metrics.stop()
                for server in self._servers:
                    server.close()
                for listener in self._listeners + self._tls_listeners:
                    listener.close()
                self.sockets.close()
                self.events.disable()
                self._close_vhosts()
        log.info("stopped")

    def _close_vhosts(self) -> None:
        """Close all journals. Raises what has gone wrong with one of them, when the others are closed."""
        failures = []
        for vhost in self.vhosts.values():
            try:
                vhost.close(self.loop)
            except Exception as error:  # noqa: BLE001 (raised below)
                failures.append(error)
        if failures:
            raise failures[0]

    async def _start(self) -> None:
        registry.load_extensions()
        interceptors.load_extensions()
        queue_arguments.load_extensions()
        self._authenticator.backends = load_backends(self.configuration.authentication, self._authenticator.configured)
        # In this order: what cannot work out is found before the journals are read, which may take a while; during
        # that, /health says that the broker is starting, and clients are refused.
        if self.configuration.tls_listeners:
            self.tls_context = load_context(self.configuration.tls)
        self._bind_listeners()
        metrics_address = await self._start_metrics()
        await asyncio.to_thread(self.disk.measure)
        await self._open_vhosts()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.stop, number)
        if self._tls_listeners:
            self.loop.add_signal_handler(signal.SIGHUP, self._reload_certificates)
        self.state = "ready"
        for listeners, protocol in ((self._listeners, self._new_connection), (self._tls_listeners, self._new_tls)):
            for listener in listeners:
                server = await self.loop.create_server(protocol, sock=listener, backlog=BACKLOG)
                self._servers.append(server)
        self.loop_lag.start(self.loop)
        self._tick()
        collector.serve()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        log.info(
            "ready",
            version=VERSION,
            listeners=[bound_address(listener) for listener in self._listeners],
            tls_listeners=[bound_address(listener) for listener in self._tls_listeners] or None,
            metrics=metrics_address,
            pid=os.getpid(),
        )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Begin to stop; called a second time, leave at once."""
        if self.state == "stopping":
            log.warning("leaving at once", signal=signal.Signals(number).name)
            os._exit(128 + number)
        self.state = "stopping"
        log.info("stopping", signal=signal.Signals(number).name)
        self._stopping.set()

    async def _open_vhosts(self) -> None:
        options = JournalOptions(
            segment_size=self.configuration.journal.segment_size_bytes,
            spare_files_max=self.configuration.journal.spare_segments,
            retention_s=self.configuration.journal.retention_s,
            retention_bytes=self.configuration.journal.retention_bytes,
        )
        created: list[VirtualHost] = []
        for name in self.configuration.vhosts:
            is_new = not self.vhost_directory(name).exists()
            vhost = await asyncio.to_thread(
                VirtualHost.open,
                name,
                self.vhost_directory(name),
                self.turn,
                self.counters,
                options,
                self._on_failure,
                self.page_out,
                progress=RecoveryProgress(self, name),
                on_room=self._on_room,
            )
            self.recovering = None
            vhost.attach(self.loop, self.sockets.watch)
            if self.configuration.journal.scrub_interval_s:
                self._start_scrubber(vhost)
            vhost.events = self.events
            if is_new:
                created.append(vhost)
            if name in self.configuration.tracing:
                vhost.set_tracing(True)
            self.vhosts[name] = vhost
            stall_warning_s = self.configuration.journal.stall_warning_ms / 1000
            self.journal_watches.add(JournalWatch(name, vhost.journal.journal, stall_warning_s))
        if self.configuration.event_exchange:
            self.events.enable(self.vhosts[self.configuration.vhosts[0]])
        for vhost in created:
            self.events.tell("vhost.created", event_properties.vhost_created, vhost)

    def _start_scrubber(self, vhost: VirtualHost) -> None:
        journal = self.configuration.journal
        vhost.scrubber = Scrubber(
            self.vhost_directory(vhost.name),
            vhost.journal.journal.sealed_segments,
            vhost.damage.found_by_scrubber,
            ScrubberOptions(journal.scrub_interval_s, journal.scrub_rate_bytes_per_s),
            known=vhost.damage.at_start,
        )
        vhost.scrubber.start()

    def _on_failure(self, vhost: str, error: JournalFailed) -> None:
        self.journal_failure = f"journal of vhost '{vhost}' failed: {error}"
        log.error(
            "journal failed; nothing is confirmed or written any more",
            vhost=vhost,
            file=str(error.file),
            errno=errno.errorcode.get(error.errno, error.errno),
            reason=str(error),
        )
        if vhost in self.vhosts:
            self.loop.call_soon(self._close_waiting, self.vhosts[vhost], error)

    def _close_waiting(self, vhost: VirtualHost, error: JournalFailed) -> None:
        """Let nobody wait for a confirm or a reply that never comes."""
        for channel in vhost.take_waiting():
            channel.connection.close_for(internal_error(f"journal failed: {error}"))

    def _bind_listeners(self) -> None:
        configuration = self.configuration
        for addresses, listeners in (
            (configuration.listeners, self._listeners),
            (configuration.tls_listeners, self._tls_listeners),
        ):
            for address in addresses:
                try:
                    listeners.append(bind(address))
                except FamilyMissingError:
                    log.warning("no IPv6 on this machine", listener=address)
        if not self._listeners and not self._tls_listeners:
            raise OSError(errno.EADDRNOTAVAIL, "none of the listeners has an address on this machine")

    async def _start_metrics(self) -> str | None:
        address = self.configuration.metrics.listener
        if not address:
            return None
        try:
            return format_address(*await self._metrics.start(*parse_address(address)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(address) from error
            raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from error

    async def _close_connections(self) -> None:
        """Tell the clients, and wait for their answers as long as is allowed."""
        for server in self._servers:
            server.close()
        for handshake in list(self.handshakes):
            handshake.abort()
        for connection in list(self.connections):
            connection.close_by_broker("broker forced connection closure with reason 'shutdown'")
        deadline = self.loop.time() + self.configuration.shutdown_timeout_ms / 1000
        while self.connections and self.loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def _tick(self) -> None:
        # First of all, so that a mistake further down costs one tick and not all of them.
        self.loop.call_later(TICK_S, self._tick)
        if self.turn.tick % TICKS_PER_RETRY == 0:
            self.journal_watches.retry()
        self._check_alarms()
        self.turn.tick += 1
        self.page_out.resume()
        now = self.now()
        for handshake in list(self.handshakes):
            handshake.tick(now)
        for connection in list(self.connections):
            connection.tick(now)
            if self.turn.tick % TICKS_PER_CONSUMER_CHECK == 0:
                consumer_timeouts.check(
                    connection,
                    tick=self.turn.tick,
                    tick_ms=TICK_MS,
                    default_ms=self.configuration.consumer_timeout_ms,
                )

    def _check_alarms(self) -> None:
        self.disk.out_of_room = self.journal_watches.check()
        changed = self.alarms.check()
        self.turn.publishers_blocked = self.alarms.is_set
        for alarm in changed:
            change = "set" if alarm.is_set else "cleared"
            log.warning(f"{alarm.source} alarm {change}", **alarm.describe())
            self.events.tell(f"alarm.{change}", event_properties.alarm, alarm.source)
        if changed and not self.alarms.is_set:
            for connection in list(self.connections):
                connection.unblock()
        self.journal_watches.save_room(self.disk.is_set)

    def _measure_disk(self, measure: Callable[[], None]) -> None:
        def act(_: object) -> None:
            # The next tick may be too late: a fast disk takes a segment in less.
            if self.disk.wants_check:
                self._check_alarms()

        self.loop.run_in_executor(None, measure).add_done_callback(act)

    def _on_room(self) -> None:
        """Look at the disk as soon as possible: a journal has taken room, or finds none, or finds some again."""
        self.disk.hurry()
        self.loop.call_soon(self._check_alarms)

    def _new_connection(self) -> Any:
        return Connection(self)

    def _new_tls(self) -> Any:
        return TlsTransport(self, self._new_connection)

    def _reload_certificates(self) -> None:
        """Read the files of TLS again, for the connections that come; with an error in them all stays as it is."""
        try:
            self.tls_context = load_context(self.configuration.tls)
        except ConfigurationError as error:
            log.error("certificates not reloaded", reason=str(error))
        else:
            log.info("certificates reloaded", certificate=self.configuration.tls.certificate)

    # What connections ask

    def now(self) -> float:
        """Return the event loop's time in seconds."""
        return self.loop.time()

    def admit(self, connection: Connection) -> bool:
        """Count a connection in, unless there are too many or the broker is stopping."""
        if not self._has_room():
            return False
        self.connections.add(connection)
        return True

    def dismiss(self, connection: Connection) -> bool:
        """Count a connection out. Returns whether it had been counted in."""
        if connection not in self.connections:
            return False
        self.connections.remove(connection)
        return True

    def admit_handshake(self, handshake: TlsTransport) -> bool:
        """Count in who may become a connection, unless there are too many or the broker is stopping."""
        if not self._has_room():
            return False
        self.handshakes.add(handshake)
        return True

    def dismiss_handshake(self, handshake: TlsTransport) -> bool:
        """Count out who was to become a connection. Returns whether it had been counted in."""
        if handshake not in self.handshakes:
            return False
        self.handshakes.remove(handshake)
        return True

    def _has_room(self) -> bool:
        if self.state != "ready":
            return False
        count = len(self.connections) + len(self.handshakes)
        if count >= self._connections_max:
            log.warning("connection refused: there are too many", connections=count)
            return False
        return True

    def authenticate(self, credentials: Credentials, peer: Any) -> tuple[User | None, str]:
        """Return the user who logs in so, or None and the reason for the log."""
        return self._authenticator.authenticate(credentials, peer)

    def alarm_reason(self) -> str:
        """Return why publishers are blocked, in RabbitMQ's words."""
        return self.alarms.reason()

    # What the metrics ask

    def uptime_s(self) -> float:
        """Return the time since the start in seconds."""
        return self.loop.time() - self._started_at

    def logins(self) -> tuple[int, int]:
        """Return how many logins succeeded and how many failed."""
        return self._authenticator.succeeded_count, self._authenticator.failed_count

    def vhost_directory(self, vhost: str) -> Path:
        """Return where the journal of a virtual host is: its name as far as a file may have it, and unambiguous."""
        readable = re.sub(r"[^A-Za-z0-9_-]+", "_", vhost)[:32]
        name = f"{readable}-{hashlib.sha256(vhost.encode()).hexdigest()[:16]}"
        return Path(self.configuration.data_dir) / "vhosts" / name

    def health(self) -> tuple[bool, str]:
        """Return whether the broker serves, and why not."""
        if self.journal_failure is not None:
            return False, self.journal_failure
        if self.state != "ready":
            return False, self.state if self.recovering is None else f"{self.state}: {self.recovering}"
        problem = self.journal_watches.problem()
        if problem is not None:
            return False, problem
        words = [self.alarms.summary() or "ready"]
        words += [summary for vhost in self.vhosts.values() if (summary := vhost.damage.summary()) is not None]
        return True, "; ".join(words)


class RecoveryProgress:
    """Tells how far the reading of a journal has come: each of its steps to the log, and all to ``/health``."""

    def __init__(self, broker: Broker, vhost: str) -> None:
        self._broker = broker
        self._vhost = vhost
        self._logged_percent = 0

    def __call__(self, done: int, size: int) -> None:
        """Take notice; called on the thread that reads."""
        percent = 100 * done // size if size else 100
        self._broker.recovering = f"the journal of vhost '{self._vhost}' is being read, {percent} %"
        if percent >= self._logged_percent + PROGRESS_STEP_PERCENT:
            self._logged_percent = percent
            log.info("journal is being read", vhost=self._vhost, percent=percent, size_bytes=size)


def _raise_descriptor_limit() -> int:
    """Allow as many descriptors as the system lets us, and return how many of them connections may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return sys.maxsize
    # The journals must never go without. A burst of clients is accepted before the last of them are turned away.
    return hard - min(hard // 2, DESCRIPTORS_RESERVED)


def _log_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("internal error", reason=context["message"], exc_info=context.get("exception"))
