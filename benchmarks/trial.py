"""One run of a scenario: what it is given, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.brokers import Broker
from benchmarks.usage import Usage
from benchmarks.workers import Workers

CPU_S_MIN = 0.01
"""The CPU time of processes is told in steps of this length."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of everything a scenario does. The defaults are what the scenarios of docs/performance.md are."""

    seconds: float = 3.0
    warmup_s: float = 1.0
    hold_s: float = 5.0
    """How long idle connections and queues are there before their memory is looked at."""
    drained: int = 1_000_000
    connections: int = 2_000
    queues: int = 10_000
    crowd_queues: int = 10_000
    crowd_connections: int = 5_000
    backlog: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Trial:
    """A broker to measure, and what it is measured with."""

    broker: Broker
    workers: Workers
    effort: Effort
    over_tls: bool = False

    @property
    def port(self) -> int:
        """Where clients connect."""
        if not self.over_tls:
            return self.broker.port
        assert self.broker.tls_port is not None
        return self.broker.tls_port


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of a run, what the broker used, and how much it has done with that (messages, or what is counted)."""

    figures: dict[str, float]
    usage: Usage
    done: float

    @property
    def done_per_cpu_s(self) -> float:
        """How much of it the broker has done for each second of its CPU time."""
        return self.done / max(self.usage.cpu_s, CPU_S_MIN)
