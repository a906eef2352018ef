"""What a scrape takes from the living broker: numbers, read on the event loop in slices and worked on elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from broker.configuration import Configuration
from broker.free_space import DiskAlarm
from broker.memory import MemoryAlarm
from broker.metrics.counters import Counters
from broker.metrics.loop_lag import LoopLag

# How many queues are looked at before the event loop gets its turn again.
SLICE_LENGTH = 500

Histogram = list[tuple[float, int]]
"""For each bound how many measurements lay up to it, and above the one before."""


class MetricsSource(Protocol):
    """What of the broker is measured."""

    configuration: Configuration
    cluster_name: str
    counters: Counters
    memory: MemoryAlarm
    disk: DiskAlarm
    loop_lag: LoopLag

    @property
    def vhosts(self) -> Mapping[str, Any]:
        """The virtual hosts by name."""

    @property
    def connections(self) -> Collection[Any]:
        """The open connections."""

    def uptime_s(self) -> float:
        """Return the time since the start in seconds."""

    def logins(self) -> tuple[int, int]:
        """Return how many logins succeeded and how many failed."""

    def vhost_directory(self, vhost: str) -> Path:
        """Return where the journal of a virtual host is."""


class QueueRow(NamedTuple):
    """One queue at the time of the scrape."""

    vhost: str
    name: str
    ready: int
    unacked: int
    ready_bytes: int
    consumers: int
    paged_out: int = 0


class JournalRow(NamedTuple):
    """One journal at the time of the scrape."""

    vhost: str
    directory: Path
    written_bytes: int
    segments: int
    log_bytes: int
    living_bytes: int
    compacted_bytes: int
    segments_passed_over: int
    failed: bool
    out_of_room: bool
    in_flight_s: float
    housekeeping_failures: int
    sync_count: int
    sync_s: float
    sync_histogram: Histogram
    damages: int
    lost_records: int
    scrub_damages: int
    scrubbed_bytes: int


class Snapshot(NamedTuple):
    """Everything that a scrape shows, but for what the operating system knows of the process."""

    cluster_name: str
    data_directory: str
    uptime_s: float
    connections: int
    tls_connections: int
    channels: int
    queues: int
    totals: QueueRow
    queue_rows: list[QueueRow] | None
    journals: list[JournalRow]
    counters: dict[str, int]
    logins_succeeded: int
    logins_failed: int
    memory_limit_bytes: int
    memory_alarm: bool
    disk_limit_bytes: int
    disk_alarm: bool
    lag_histogram: Histogram
    lag_s: float


async def take_snapshot(source: MetricsSource) -> Snapshot:
    """Read the state of the broker. ``queue_rows`` is None unless series of single queues are configured."""
    per_object = source.configuration.metrics.per_object
    rows: list[QueueRow] = []
    count = ready = unacked = ready_bytes = consumers = paged_out = 0
    for vhost in list(source.vhosts.values()):
        queues = list(vhost.queues.values())
        for start in range(0, len(queues), SLICE_LENGTH):
            for queue in queues[start : start + SLICE_LENGTH]:
                if queue.deleted:
                    continue
                row = _read_queue(vhost.name, queue)
                count += 1
                ready += row.ready
                unacked += row.unacked
                ready_bytes += row.ready_bytes
                consumers += row.consumers
                paged_out += row.paged_out
                if per_object:
                    rows.append(row)
            await asyncio.sleep(0)
    succeeded, failed = source.logins()
    counters = source.counters
    return Snapshot(
        cluster_name=source.cluster_name,
        data_directory=source.configuration.data_dir,
        uptime_s=source.uptime_s(),
        connections=len(source.connections),
        tls_connections=sum(connection.tls is not None for connection in source.connections),
        channels=sum(len(connection.channels) for connection in source.connections),
        queues=count,
        totals=QueueRow("", "", ready, unacked, ready_bytes, consumers, paged_out),
        queue_rows=rows if per_object else None,
        journals=[_read_journal(source, vhost) for vhost in source.vhosts.values()],
        counters={name: getattr(counters, name) for name in dir(counters) if not name.startswith("_")},
        logins_succeeded=succeeded,
        logins_failed=failed,
        memory_limit_bytes=source.memory.limit_bytes,
        memory_alarm=source.memory.is_set,
        disk_limit_bytes=source.disk.limit_bytes,
        disk_alarm=source.disk.is_set,
        lag_histogram=source.loop_lag.histogram(),
        lag_s=source.loop_lag.sum_s,
    )


def _read_queue(vhost: str, queue: Any) -> QueueRow:
    return QueueRow(
        vhost,
        queue.name,
        queue.ready_count(),
        queue.unacked_count,
        queue.ready_bytes(),
        len(queue.consumers),
        queue.paged_count(),
    )


def _read_journal(source: MetricsSource, vhost: Any) -> JournalRow:
    journal = vhost.journal.journal
    return JournalRow(
        vhost=vhost.name,
        directory=source.vhost_directory(vhost.name),
        written_bytes=journal.bytes_written,
        segments=journal.segment_count,
        log_bytes=journal.log_bytes,
        living_bytes=journal.living_bytes,
        compacted_bytes=journal.compacted_bytes,
        segments_passed_over=journal.segments_passed_over,
        failed=journal.failed,
        out_of_room=journal.out_of_room is not None,
        in_flight_s=journal.in_flight_seconds,
        housekeeping_failures=journal.housekeeping_failures,
        sync_count=journal.sync_count,
        sync_s=journal.sync_seconds,
        sync_histogram=journal.sync_histogram(),
        damages=vhost.damage.damage_count,
        lost_records=vhost.damage.lost_record_count,
        scrub_damages=vhost.damage.scrub_damage_count,
        scrubbed_bytes=0 if vhost.scrubber is None else vhost.scrubber.bytes_read,
    )
