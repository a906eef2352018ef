"""The scenarios of docs/performance.md."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.connections import churn, connect
from benchmarks.crowd import crowded, declare
from benchmarks.generator import Rates, drain, fill, publish, run
from benchmarks.round_trips import confirm, requests
from benchmarks.span import measured
from benchmarks.steady import Steady, steady
from benchmarks.topology import QUEUE, Load, Topology
from benchmarks.trial import Outcome, Trial
from benchmarks.usage import Meter, resident_bytes

RATE = 1_000
REQUEST_RATE = 200
BACKLOG = Load(100, durable=True, window=1000, queue=QUEUE + "-backlog")
CONFIRMED = Load(1024, durable=True, window=1000, prefetch=1000, ack_every=10)
DRAINED = replace(CONFIRMED, size_bytes=100)
ONE_BY_ONE = Load(100, durable=True)
STEADY = replace(CONFIRMED, ack_every=1)
FANNED_OUT = Load(1024, exchange="fanout", consumers=10, queues=10)
MANY_KEYS = Load(16, exchange="topic")
# Nobody consumes what the flood publishes: all but the newest is dropped.
FLOOD = Load(16, queue=QUEUE + "-flood", length_max=10_000)
ANSWER_TIMEOUT_S = 600.0
KB = 1024


def _rates(trial: Trial, load: Load) -> Rates:
    effort = trial.effort
    return run(trial.workers, trial.port, trial.broker.pid, load, effort.seconds, effort.warmup_s)


def throughput(load: Load, trial: Trial) -> Outcome:
    """Publish and consume at once."""
    rates = _rates(trial, load)
    return Outcome({"delivered_s": rates.delivered_s}, rates.usage, rates.delivered_s * rates.usage.seconds)


def fill_and_drain(trial: Trial) -> Outcome:
    """Fill a queue, and then empty it."""
    count, port = trial.effort.drained, trial.broker.port
    with Topology(port, DRAINED):
        meter = Meter(trial.broker.pid)
        filled_s = count / fill(trial.workers, port, DRAINED, count)
        drained_s = count / drain(trial.workers, port, DRAINED, count)
        usage = meter.read()
    return Outcome({"filled_s": filled_s, "drained_s": drained_s}, usage, count)


def _kept(trial: Trial, task: Callable[..., tuple[float, float]], name: str, count: int) -> Outcome:
    """Let a worker make so many things, look at the memory, and let it remove them."""
    broker, worker = trial.broker, trial.workers[0]
    worker.start(task, broker.port, count)
    worker.receive()
    before = resident_bytes(broker.pid)
    meter = Meter(broker.pid)
    worker.send("go")
    worker.receive(ANSWER_TIMEOUT_S)
    usage = meter.read()
    time.sleep(trial.effort.hold_s)
    grown = resident_bytes(broker.pid) - before
    worker.send("done")
    made_s, removed_s = worker.receive(ANSWER_TIMEOUT_S)
    figures = {f"{name}s_s": made_s, f"{name}s_ended_s": removed_s, f"{name}_kb": grown / count / KB}
    return Outcome(figures, usage, count)


def many_connections(trial: Trial) -> Outcome:
    """Open connections, and let them be idle."""
    return _kept(trial, connect, "connection", trial.effort.connections)


def many_queues(trial: Trial) -> Outcome:
    """Declare durable queues."""
    return _kept(trial, declare, "queue", trial.effort.queues)


def rpc(trial: Trial) -> Outcome:
    """Request and respond at a rate, and then flat out."""
    effort, broker, worker = trial.effort, trial.broker, trial.workers[0]
    slow, _ = requests(worker, trial.port, broker.pid, REQUEST_RATE, effort.seconds, effort.warmup_s)
    fast, usage = requests(worker, trial.port, broker.pid, 0, effort.seconds, effort.warmup_s)
    figures = {"p50_at_200_us": slow.p50_us, "p99_at_200_us": slow.p99_us}
    figures |= {"p50_us": fast.p50_us, "p99_us": fast.p99_us, "requests_s": fast.per_s}
    return Outcome(figures, usage, fast.per_s * usage.seconds)


def one_confirmed(trial: Trial) -> Outcome:
    """Publish a persistent message, wait until it is confirmed, and publish the next."""
    broker, worker = trial.broker, trial.workers[0]
    with Topology(broker.port, ONE_BY_ONE):
        worker.start(confirm, broker.port, ONE_BY_ONE)
        worker.receive()
        usage = measured([worker], broker.pid, trial.effort.seconds, trial.effort.warmup_s)
        trips = worker.receive()
    figures = {"confirmed_s": trips.per_s, "p50_us": trips.p50_us, "p99_us": trips.p99_us}
    return Outcome(figures, usage, trips.per_s * usage.seconds)


def cycles(trial: Trial) -> Outcome:
    """Connect, declare, publish, get, close, again and again."""
    broker, worker = trial.broker, trial.workers[0]
    worker.start(churn, broker.port)
    worker.receive()
    usage = measured([worker], broker.pid, trial.effort.seconds)
    cycles_s, p50_us = worker.receive()
    return Outcome({"cycles_s": cycles_s, "p50_us": p50_us}, usage, cycles_s * usage.seconds)


def _steady(trial: Trial) -> Steady:
    effort, broker = trial.effort, trial.broker
    return steady(trial.workers[0], broker.port, broker.pid, STEADY, RATE, effort.seconds, effort.warmup_s)


def steady_rate(trial: Trial) -> Outcome:
    """Publish at a rate that is far from what the broker can do."""
    result = _steady(trial)
    figures = {"p50_us": result.p50_us, "p99_us": result.p99_us}
    return Outcome(figures, result.usage, result.per_s * result.usage.seconds)


def crowded_throughput(trial: Trial) -> Outcome:
    """Publish and consume alone, and then with many other queues and idle connections."""
    effort = trial.effort
    alone = _rates(trial, CONFIRMED)
    others = (trial.workers[2], trial.workers[3])
    with crowded(others, trial.broker.port, effort.crowd_queues, effort.crowd_connections):
        rates = _rates(trial, CONFIRMED)
    figures = {"delivered_s": rates.delivered_s, "alone_s": alone.delivered_s}
    figures["of_alone"] = rates.delivered_s / alone.delivered_s
    return Outcome(figures, rates.usage, rates.delivered_s * rates.usage.seconds)


def requests_beside_flood(trial: Trial) -> Outcome:
    """Request and respond while another connection publishes flat out."""
    effort, broker, workers = trial.effort, trial.broker, trial.workers
    requester, flooder = workers[0], workers[1]
    with Topology(broker.port, FLOOD):
        flooder.start(publish, broker.port, FLOOD)
        flooder.receive()
        trips, usage = requests(requester, broker.port, broker.pid, 0, effort.seconds, effort.warmup_s, [flooder])
        (published_s, _), _ = flooder.receive()
    figures = {"p50_us": trips.p50_us, "p99_us": trips.p99_us, "requests_s": trips.per_s, "published_s": published_s}
    return Outcome(figures, usage, (trips.per_s + published_s) * usage.seconds)


def steady_beside_backlog(trial: Trial) -> Outcome:
    """Publish at a steady rate alone, and then with a backlog of messages in another queue."""
    alone = _steady(trial)
    with Topology(trial.broker.port, BACKLOG):
        fill(trial.workers, trial.broker.port, BACKLOG, trial.effort.backlog)
        result = _steady(trial)
    figures = {"p50_us": result.p50_us, "p99_us": result.p99_us}
    figures |= {"alone_p50_us": alone.p50_us, "alone_p99_us": alone.p99_us}
    return Outcome(figures, result.usage, result.per_s * result.usage.seconds)


def over_tls(measure: Callable[[Trial], Outcome], leading: str, trial: Trial) -> Outcome:
    """Measure without TLS and with it, and tell what share of the ``leading`` figure is left."""
    plain, sealed = measure(trial), measure(replace(trial, over_tls=True))
    figures = dict(sealed.figures)
    figures |= {f"plain_{name}": value for name, value in plain.figures.items()}
    figures |= {"plain_done_per_cpu_s": plain.done_per_cpu_s, "plain_cpu_s": plain.usage.cpu_s}
    figures["of_plain"] = sealed.figures[leading] / plain.figures[leading]
    figures["per_cpu_s_of_plain"] = sealed.done_per_cpu_s / plain.done_per_cpu_s
    return Outcome(figures, sealed.usage, sealed.done)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is measured, and how."""

    what: str
    run: Callable[[Trial], Outcome]
    fresh: bool = False
    """Whether each run needs a broker that has done nothing before: memory that was used once is used again."""
    tls: bool = False
    """Whether the broker needs a port with TLS."""


def _throughput(what: str, load: Load) -> Scenario:
    return Scenario(what, partial(throughput, load))


def _over_tls(name: str, measure: Callable[[Trial], Outcome], leading: str) -> Scenario:
    return Scenario(f"{name} over TLS 1.3, and without", partial(over_tls, measure, leading), tls=True)


SCENARIOS = {
    "a16": _throughput("16 B transient, 1 publisher, 1 consumer, auto-ack", Load(16)),
    "a1k": _throughput("1 KB transient, 1 publisher, 1 consumer, auto-ack", Load(1024)),
    "b": _throughput("1 KB persistent, confirmed (1,000 in flight), prefetch 1,000, ack every 10", CONFIRMED),
    "c": _throughput(
        "b with 4 publishers, 4 consumers, 4 queues", replace(CONFIRMED, publishers=4, consumers=4, queues=4)
    ),
    "d": _throughput("fan-out, 1 to 10 queues, 1 KB transient", FANNED_OUT),
    "e": _throughput("topic exchange with 1,000 bindings, 16 B", MANY_KEYS),
    "f": Scenario("1,000,000 messages of 100 B, otherwise as b: fill, then drain", fill_and_drain),
    "g-connections": Scenario("2,000 connections with a channel, idle", many_connections, fresh=True),
    "g-queues": Scenario("10,000 durable queues, declared 100 at a time", many_queues, fresh=True),
    "h": Scenario("RPC over direct reply-to, one in flight: at 200/s, and flat out", rpc),
    "i": Scenario("100 B persistent, one confirmed at a time", one_confirmed),
    "j": _throughput(
        "1 MB transient, confirmed (16 in flight), prefetch 16, ack each",
        Load(1 << 20, window=16, prefetch=16, ack_every=1),
    ),
    "k": Scenario("connect, declare, publish, get, close", cycles),
    "l": Scenario("1 KB persistent at 1,000/s, confirmed, ack each: publish to deliver", steady_rate),
    "b-crowded": Scenario("b with 10,000 other queues and 5,000 idle connections, and without", crowded_throughput),
    "rpc-beside-flood": Scenario("h flat out beside a connection that publishes flat out", requests_beside_flood),
    "l-backlog": Scenario("l with a backlog of 10,000,000 messages in another queue", steady_beside_backlog),
    "tls-a16": _over_tls("a16", partial(throughput, Load(16)), "delivered_s"),
    "tls-b": _over_tls("b", partial(throughput, CONFIRMED), "delivered_s"),
    "tls-h": _over_tls("h", rpc, "requests_s"),
}
