"""What ``/metrics`` says."""

import asyncio
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.metrics.loop_lag import PERIOD_S, LoopLag
from tests.unit.metrics.conftest import Observed
from tests.unit.metrics.test_http import ask, get

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

# What RabbitMQ's Grafana dashboards and the alerts of its users ask for.
RABBITMQ_NAMES = (
    "rabbitmq_alarms_free_disk_space_watermark",
    "rabbitmq_alarms_memory_used_watermark",
    "rabbitmq_auth_attempts_failed_total",
    "rabbitmq_auth_attempts_succeeded_total",
    "rabbitmq_auth_attempts_total",
    "rabbitmq_build_info",
    "rabbitmq_channels",
    "rabbitmq_channels_closed_total",
    "rabbitmq_channels_opened_total",
    "rabbitmq_connection_incoming_bytes_total",
    "rabbitmq_connection_outgoing_bytes_total",
    "rabbitmq_connections",
    "rabbitmq_connections_closed_total",
    "rabbitmq_connections_opened_total",
    "rabbitmq_consumers",
    "rabbitmq_disk_space_available_bytes",
    "rabbitmq_disk_space_available_limit_bytes",
    "rabbitmq_erlang_uptime_seconds",
    "rabbitmq_global_consumers",
    "rabbitmq_global_messages_acknowledged_total",
    "rabbitmq_global_messages_confirmed_total",
    "rabbitmq_global_messages_delivered_consume_auto_ack_total",
    "rabbitmq_global_messages_delivered_consume_manual_ack_total",
    "rabbitmq_global_messages_delivered_get_auto_ack_total",
    "rabbitmq_global_messages_delivered_get_manual_ack_total",
    "rabbitmq_global_messages_delivered_total",
    "rabbitmq_global_messages_get_empty_total",
    "rabbitmq_global_messages_received_confirm_total",
    "rabbitmq_global_messages_received_total",
    "rabbitmq_global_messages_redelivered_total",
    "rabbitmq_global_messages_routed_total",
    "rabbitmq_global_messages_unroutable_dropped_total",
    "rabbitmq_global_messages_unroutable_returned_total",
    "rabbitmq_global_messages_dead_lettered_delivery_limit_total",
    "rabbitmq_global_messages_dead_lettered_expired_total",
    "rabbitmq_global_messages_dead_lettered_maxlen_total",
    "rabbitmq_global_messages_dead_lettered_rejected_total",
    "rabbitmq_identity_info",
    "rabbitmq_io_sync_ops_total",
    "rabbitmq_io_sync_time_seconds_total",
    "rabbitmq_io_write_bytes_total",
    "rabbitmq_process_max_fds",
    "rabbitmq_process_open_fds",
    "rabbitmq_process_resident_memory_bytes",
    "rabbitmq_queue_consumers",
    "rabbitmq_queue_messages",
    "rabbitmq_queue_messages_ready",
    "rabbitmq_queue_messages_ready_bytes",
    "rabbitmq_queue_messages_unacked",
    "rabbitmq_queues",
    "rabbitmq_queues_created_total",
    "rabbitmq_queues_declared_total",
    "rabbitmq_queues_deleted_total",
    "rabbitmq_resident_memory_limit_bytes",
)
HAYPILE_NAMES = (
    "haypile_messages_deduplicated_total",
    "haypile_event_loop_lag_seconds_bucket",
    "haypile_journal_damaged_places_total",
    "haypile_journal_failed",
    "haypile_journal_housekeeping_failures_total",
    "haypile_journal_in_flight_seconds",
    "haypile_journal_out_of_room",
    "haypile_journal_lost_records_total",
    "haypile_journal_scrub_damaged_places_total",
    "haypile_journal_scrubbed_bytes_total",
    "haypile_journal_segments",
    "haypile_journal_log_bytes",
    "haypile_journal_living_bytes",
    "haypile_journal_compacted_bytes_total",
    "haypile_journal_segments_passed_over_total",
    "haypile_journal_size_bytes",
    "haypile_journal_sync_seconds_bucket",
    "haypile_journal_written_bytes_total",
    "haypile_process_cpu_seconds_total",
    "haypile_tls_connections",
    "haypile_tls_handshakes_failed_total",
)


async def scrape(observed: Observed, *queue_names: str) -> Samples:
    async with observed.serve() as address:
        vhost = observed.open_vhost("/")
        for name in queue_names:
            vhost.declare_queue(name, durable=False, auto_delete=False, owner=None, arguments={})
        _, _, body = await ask(address, get("/metrics"))
    samples = [sample for family in text_string_to_metric_families(body.decode()) for sample in family.samples]
    result = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
    assert len(result) == len(samples), "a series is there twice"
    return result


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def test_every_series_that_users_of_rabbitmq_know_is_there(observed: Observed) -> None:
    names = {name for name, _ in asyncio.run(scrape(observed))}
    assert {*RABBITMQ_NAMES, *HAYPILE_NAMES} - names == set()


def test_labels_that_dashboards_choose_by(observed: Observed) -> None:
    samples = asyncio.run(scrape(observed))
    (identity,) = (dict(labels) for name, labels in samples if name == "rabbitmq_identity_info")
    assert identity["rabbitmq_cluster"] == "a cluster"
    assert identity["rabbitmq_endpoint"] == "aggregated"
    assert identity["rabbitmq_node"].startswith("haypile@")
    assert value(samples, "rabbitmq_global_messages_routed_total", protocol="amqp091") == 0
    labels = {"protocol": "amqp091", "queue_type": "rabbit_classic_queue"}
    assert value(samples, "rabbitmq_global_messages_acknowledged_total", **labels) == 0


def test_counters(observed: Observed) -> None:
    observed.counters.connections_opened = 7
    observed.counters.messages_confirmed = 2**53
    observed.counters.messages_delivered_consume_auto_ack = 10
    observed.counters.messages_delivered_get_manual_ack = 1
    observed.counters.bytes_received = 99
    samples = asyncio.run(scrape(observed))
    assert value(samples, "rabbitmq_connections_opened_total") == 7
    assert value(samples, "rabbitmq_global_messages_confirmed_total", protocol="amqp091") == 2**53
    labels = {"protocol": "amqp091", "queue_type": "rabbit_classic_queue"}
    assert value(samples, "rabbitmq_global_messages_delivered_total", **labels) == 11
    assert value(samples, "rabbitmq_connection_incoming_bytes_total") == 99
    assert value(samples, "rabbitmq_auth_attempts_total", protocol="amqp091") == 5
    assert value(samples, "rabbitmq_auth_attempts_failed_total", protocol="amqp091") == 2


def test_queues_are_one_sum_by_default(observed: Observed) -> None:
    samples = asyncio.run(scrape(observed, "a", "b"))
    assert value(samples, "rabbitmq_queues") == 2
    assert [labels for name, labels in samples if name == "rabbitmq_queue_messages_ready"] == [()]


@pytest.mark.parametrize("observed", [True], indirect=True)
def test_each_queue_behind_the_switch(observed: Observed) -> None:
    awkward = ["a", 'quote"', "back\\slash", "line\nbreak", "ü", b"\xff".decode("utf-8", "surrogateescape")]
    samples = asyncio.run(scrape(observed, *awkward))
    shown = [dict(labels) for name, labels in samples if name == "rabbitmq_queue_messages_ready"]
    assert {labels["vhost"] for labels in shown} == {"/"}
    assert {labels["queue"] for labels in shown} >= {*awkward[:5], "\\xff"}
    assert value(samples, "rabbitmq_queue_consumers", vhost="/", queue="a") == 0
    (identity,) = (dict(labels) for name, labels in samples if name == "rabbitmq_identity_info")
    assert identity["rabbitmq_endpoint"] == "per-object"


@pytest.mark.parametrize("observed", [True], indirect=True)
def test_the_loop_gets_its_turn_while_many_queues_are_scraped(observed: Observed) -> None:
    async def run() -> tuple[int, Samples]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        samples = await scrape(observed, *(f"q{number}" for number in range(2000)))
        counting.cancel()
        return turns, samples

    turns, samples = asyncio.run(run())
    assert value(samples, "rabbitmq_queues") == 2000
    assert turns > 4


def test_the_journal(observed: Observed) -> None:
    samples = asyncio.run(scrape(observed))
    assert value(samples, "haypile_journal_segments", vhost="/") == 1
    assert value(samples, "haypile_journal_failed", vhost="/") == 0
    assert value(samples, "haypile_journal_size_bytes", vhost="/") >= 1 << 20
    assert value(samples, "haypile_journal_sync_seconds_count", vhost="/") == value(
        samples, "rabbitmq_io_sync_ops_total"
    )


def test_a_loop_that_is_held_up_is_seen() -> None:
    async def run() -> LoopLag:
        lag = LoopLag()
        lag.start(asyncio.get_running_loop())
        time.sleep(PERIOD_S + 0.2)
        while not sum(lag.counts):
            await asyncio.sleep(0)
        return lag

    lag = asyncio.run(run())
    assert lag.sum_s >= 0.2
    assert sum(count for bound, count in lag.histogram() if bound > 0.1) == 1
