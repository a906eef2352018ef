"""A snapshot in Prometheus' form, under RabbitMQ's names where RabbitMQ has the thing, else under ``haypile_``.

Nothing here touches the living broker, so all of it runs in a thread beside the event loop.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from broker.memory import resident_bytes
from broker.metrics.snapshot import Histogram, JournalRow, QueueRow, Snapshot
from broker.version import VERSION

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# Of our counters of the same names: totals of the broker, of the protocol, and of the protocol and the queue type.
CHURN = {
    "connections_opened": "Total number of connections opened",
    "connections_closed": "Total number of connections closed or terminated",
    "channels_opened": "Total number of channels opened",
    "channels_closed": "Total number of channels closed",
    "queues_declared": "Total number of queues declared",
    "queues_created": "Total number of queues created",
    "queues_deleted": "Total number of queues deleted",
}
PUBLISHED = {
    "messages_received": "Total number of messages received from publishers",
    "messages_received_confirm": "Total number of messages received from publishers that expect confirms",
    "messages_routed": "Total number of messages routed to queues",
    "messages_unroutable_dropped": "Total number of unroutable messages that were dropped",
    "messages_unroutable_returned": "Total number of unroutable mandatory messages that were returned",
    "messages_confirmed": "Total number of messages confirmed to publishers",
}
DEAD_LETTERED = {
    "messages_dead_lettered_expired": "Total number of messages dead-lettered because they expired",
    "messages_dead_lettered_rejected": "Total number of messages dead-lettered because they were rejected",
    "messages_dead_lettered_maxlen": "Total number of messages dead-lettered because their queue was full",
    "messages_dead_lettered_delivery_limit": "Total number of messages dead-lettered because they came back too often",
}
DELIVERED_BY = {
    "messages_delivered_consume_manual_ack": "Total number of messages delivered to consumers that acknowledge",
    "messages_delivered_consume_auto_ack": "Total number of messages delivered to consumers that do not acknowledge",
    "messages_delivered_get_manual_ack": "Total number of messages got by basic.get with acknowledgement",
    "messages_delivered_get_auto_ack": "Total number of messages got by basic.get without acknowledgement",
}
DELIVERED = {
    **DELIVERED_BY,
    "messages_get_empty": "Total number of times basic.get found no message",
    "messages_redelivered": "Total number of messages redelivered",
    "messages_acknowledged": "Total number of messages acknowledged by consumers",
}
OF_QUEUES: tuple[tuple[str, str, Callable[[QueueRow], int]], ...] = (
    ("queue_messages_ready", "Messages ready to be delivered to consumers", lambda row: row.ready),
    ("queue_messages_unacked", "Messages delivered but not yet acknowledged", lambda row: row.unacked),
    ("queue_messages", "Sum of ready and unacknowledged messages", lambda row: row.ready + row.unacked),
    ("queue_messages_ready_bytes", "Size in bytes of ready messages", lambda row: row.ready_bytes),
    ("queue_messages_paged_out", "Messages paged out to disk", lambda row: row.paged_out),
    ("queue_consumers", "Consumers on a queue", lambda row: row.consumers),
)
OF_DAMAGE: tuple[tuple[str, str, Callable[[JournalRow], int]], ...] = (
    ("damaged_places", "Places of the journal found damaged at the start, and put aside", lambda row: row.damages),
    ("lost_records", "Records known to be lost to that damage", lambda row: row.lost_records),
    ("scrub_damaged_places", "Damaged places that the scrubber has come across", lambda row: row.scrub_damages),
    ("scrubbed_bytes", "Bytes of the journal that the scrubber has read", lambda row: row.scrubbed_bytes),
)
PROTOCOL = {"protocol": "amqp091"}
PROTOCOL_AND_QUEUE_TYPE = {**PROTOCOL, "queue_type": "rabbit_classic_queue"}


def render(snapshot: Snapshot) -> bytes:
    """Return the text of ``/metrics``."""
    text = generate_latest(_Collected(_families(snapshot)))
    if snapshot.queue_rows is None:
        return text
    return text + "".join(_lines_of_queues(snapshot.queue_rows)).encode()


class _Collected:
    """What generate_latest asks of a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(snapshot: Snapshot) -> Iterator[Metric]:
    yield from _identity(snapshot)
    yield _gauge("connections", "Connections currently open", snapshot.connections)
    yield GaugeMetricFamily("haypile_tls_connections", "Connections over TLS", snapshot.tls_connections)
    yield _gauge("channels", "Channels currently open", snapshot.channels)
    yield _gauge("queues", "Queues available", snapshot.queues)
    yield _gauge("consumers", "Consumers currently connected", snapshot.totals.consumers)
    yield _gauge("global_consumers", "Current number of consumers", snapshot.totals.consumers, PROTOCOL)
    if snapshot.queue_rows is None:
        yield from (_gauge(name, text, value_of(snapshot.totals)) for name, text, value_of in OF_QUEUES)
    yield from _counted(snapshot)
    yield from _process(snapshot)
    yield from _journals(snapshot.journals)


def _identity(snapshot: Snapshot) -> Iterator[Metric]:
    identity = {
        "rabbitmq_node": f"haypile@{socket.gethostname()}",
        "rabbitmq_cluster": snapshot.cluster_name,
        "rabbitmq_cluster_permanent_id": snapshot.cluster_name,
        # RabbitMQ's dashboards choose by it.
        "rabbitmq_endpoint": "aggregated" if snapshot.queue_rows is None else "per-object",
    }
    yield _gauge("identity_info", "Node and cluster identity", 1, identity)
    build = {"rabbitmq_version": VERSION, "product_name": "Haypile", "product_version": VERSION}
    yield _gauge("build_info", "Version of the broker", 1, build)
    # There is no Erlang here; RabbitMQ's dashboards list the nodes by this series.
    yield _gauge("erlang_uptime_seconds", "Node uptime", snapshot.uptime_s)


def _lines_of_queues(rows: list[QueueRow]) -> Iterator[str]:
    # prometheus_client makes an object and a dict for each sample; that is ten times slower, and while it runs the
    # event loop has to ask for the interpreter again and again.
    labels = [f'{{vhost="{_label(row.vhost)}",queue="{_label(row.name)}"}}' for row in rows]
    for name, text, value_of in OF_QUEUES:
        yield f"# HELP rabbitmq_{name} {text}\n# TYPE rabbitmq_{name} gauge\n"
        for row, of_queue in zip(rows, labels, strict=True):
            yield f"rabbitmq_{name}{of_queue} {value_of(row)}\n"


def _counted(snapshot: Snapshot) -> Iterator[Metric]:
    counters = snapshot.counters
    for name, text in CHURN.items():
        yield _counter(name, text, counters[name])
    for name, text in PUBLISHED.items():
        yield _counter(f"global_{name}", text, counters[name], PROTOCOL)
    delivered = sum(counters[name] for name in DELIVERED_BY)
    yield _counter(
        "global_messages_delivered", "Total number of messages delivered", delivered, PROTOCOL_AND_QUEUE_TYPE
    )
    for name, text in DELIVERED.items():
        yield _counter(f"global_{name}", text, counters[name], PROTOCOL_AND_QUEUE_TYPE)
    strategy = {"queue_type": PROTOCOL_AND_QUEUE_TYPE["queue_type"], "dead_letter_strategy": "at_most_once"}
    for name, text in DEAD_LETTERED.items():
        yield _counter(f"global_{name}", text, counters[name], strategy)
    yield CounterMetricFamily(
        "haypile_messages_deduplicated", "Messages dropped because they came twice", counters["messages_deduplicated"]
    )
    yield CounterMetricFamily(
        "haypile_messages_quarantined",
        "Messages that could not be read back from the journal",
        counters["messages_quarantined"],
    )
    yield CounterMetricFamily(
        "haypile_page_reads_retried",
        "Reads from the journal that failed for want of file descriptors or memory, and were tried again",
        counters["page_reads_retried"],
    )
    yield CounterMetricFamily(
        "haypile_tls_handshakes_failed", "TLS handshakes that came to nothing", counters["tls_handshakes_failed"]
    )
    yield _counter("connection_incoming_bytes", "Total number of bytes received", counters["bytes_received"])
    yield _counter("connection_outgoing_bytes", "Total number of bytes sent", counters["bytes_sent"])
    succeeded, failed = snapshot.logins_succeeded, snapshot.logins_failed
    yield _counter("auth_attempts", "Total number of logins", succeeded + failed, PROTOCOL)
    yield _counter("auth_attempts_succeeded", "Total number of successful logins", succeeded, PROTOCOL)
    yield _counter("auth_attempts_failed", "Total number of refused logins", failed, PROTOCOL)


def _process(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge("process_resident_memory_bytes", "Memory used in bytes", resident_bytes())
    yield _gauge("resident_memory_limit_bytes", "Memory high watermark in bytes", snapshot.memory_limit_bytes)
    yield _gauge("alarms_memory_used_watermark", "1 while the memory alarm is set", snapshot.memory_alarm)
    yield _gauge("process_open_fds", "Open file descriptors", len(list(Path("/proc/self/fd").iterdir())))
    yield _gauge("process_max_fds", "Open file descriptors limit", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    free = shutil.disk_usage(snapshot.data_directory).free
    yield _gauge("disk_space_available_bytes", "Disk space available in bytes", free)
    limit = snapshot.disk_limit_bytes
    yield _gauge("disk_space_available_limit_bytes", "Free disk space low watermark in bytes", limit)
    yield _gauge("alarms_free_disk_space_watermark", "1 while the disk alarm is set", snapshot.disk_alarm)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield CounterMetricFamily(
        "haypile_process_cpu_seconds", "User and system time of the processor", usage.ru_utime + usage.ru_stime
    )
    lag = HistogramMetricFamily("haypile_event_loop_lag_seconds", "How late the event loop runs its timers")
    lag.add_metric([], _cumulated(snapshot.lag_histogram), snapshot.lag_s)
    yield lag


def _journals(journals: list[JournalRow]) -> Iterator[Metric]:
    yield _counter("io_write_bytes", "Total number of I/O bytes written", sum(row.written_bytes for row in journals))
    yield _counter("io_sync_ops", "Total number of I/O sync operations", sum(row.sync_count for row in journals))
    yield _counter("io_sync_time_seconds", "Total I/O sync time", sum(row.sync_s for row in journals))
    labels = ["vhost"]
    written = CounterMetricFamily("haypile_journal_written_bytes", "Bytes written to the journal", labels=labels)
    size = GaugeMetricFamily("haypile_journal_size_bytes", "Size of the journal's files, spare ones too", labels=labels)
    segments = GaugeMetricFamily("haypile_journal_segments", "Segment files that are needed", labels=labels)
    log_size = GaugeMetricFamily("haypile_journal_log_bytes", "Bytes of the log in those segments", labels=labels)
    living = GaugeMetricFamily("haypile_journal_living_bytes", "Bytes of the log that are needed", labels=labels)
    compacted = CounterMetricFamily(
        "haypile_journal_compacted_bytes", "Bytes copied so that old segments could go", labels=labels
    )
    passed_over = CounterMetricFamily(
        "haypile_journal_segments_passed_over", "Segments that went before older ones", labels=labels
    )
    failed = GaugeMetricFamily("haypile_journal_failed", "1 once the journal has failed", labels=labels)
    full = GaugeMetricFamily("haypile_journal_out_of_room", "1 while the disk has no room for it", labels=labels)
    in_flight = GaugeMetricFamily(
        "haypile_journal_in_flight_seconds", "For how long the commit that is on its way has taken", labels=labels
    )
    housekeeping = CounterMetricFamily(
        "haypile_journal_housekeeping_failures", "Preparations, checkpoints and removals that failed", labels=labels
    )
    syncs = HistogramMetricFamily("haypile_journal_sync_seconds", "Duration of fdatasync", labels=labels)
    counted = [CounterMetricFamily(f"haypile_journal_{name}", text, labels=labels) for name, text, _ in OF_DAMAGE]
    for row in journals:
        for family, (_, _, value_of) in zip(counted, OF_DAMAGE, strict=True):
            family.add_metric([row.vhost], value_of(row))
        written.add_metric([row.vhost], row.written_bytes)
        size.add_metric([row.vhost], _size_of_files(row.directory))
        segments.add_metric([row.vhost], row.segments)
        log_size.add_metric([row.vhost], row.log_bytes)
        living.add_metric([row.vhost], row.living_bytes)
        compacted.add_metric([row.vhost], row.compacted_bytes)
        passed_over.add_metric([row.vhost], row.segments_passed_over)
        failed.add_metric([row.vhost], row.failed)
        full.add_metric([row.vhost], row.out_of_room)
        in_flight.add_metric([row.vhost], row.in_flight_s)
        housekeeping.add_metric([row.vhost], row.housekeeping_failures)
        syncs.add_metric([row.vhost], _cumulated(row.sync_histogram), row.sync_s)
    yield from (
        written,
        size,
        segments,
        log_size,
        living,
        compacted,
        passed_over,
        failed,
        full,
        in_flight,
        housekeeping,
        syncs,
        *counted,
    )


def _size_of_files(directory: Path) -> int:
    size = 0
    for entry in os.scandir(directory):
        # The journal may remove a file in between.
        with contextlib.suppress(FileNotFoundError):
            size += entry.stat().st_size
    return size


def _gauge(name: str, text: str, value: float, labels: dict[str, str] | None = None) -> Metric:
    family = GaugeMetricFamily(f"rabbitmq_{name}", text, labels=list(labels or ()))
    family.add_metric(list((labels or {}).values()), value)
    return family


def _counter(name: str, text: str, value: float, labels: dict[str, str] | None = None) -> Metric:
    family = CounterMetricFamily(f"rabbitmq_{name}", text, labels=list(labels or ()))
    family.add_metric(list((labels or {}).values()), value)
    return family


def _cumulated(histogram: Histogram) -> list[tuple[str, float]]:
    """Return a histogram with cumulative counts, as Prometheus has them."""
    total = 0
    buckets = []
    for bound, count in histogram:
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
    return buckets


def _label(name: str) -> str:
    """Return a name as the value of a label: in UTF-8, which names that clients chose need not be, and escaped."""
    valid = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return valid.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
