"""The figures that scenarios give: what they are called, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Better(Enum):
    """Which way a figure is better."""

    MORE = "more"
    LESS = "less"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Figure:
    """What a figure is called, with its unit, and which way it is better."""

    label: str
    better: Better


FIGURES = {
    "delivered_s": Figure("delivered/s", Better.MORE),
    "alone_s": Figure("delivered/s alone", Better.MORE),
    "of_alone": Figure("of what it is alone", Better.NEITHER),
    "published_s": Figure("published/s", Better.NEITHER),
    "confirmed_s": Figure("confirmed/s", Better.MORE),
    "filled_s": Figure("fill, messages/s", Better.MORE),
    "drained_s": Figure("drain, messages/s", Better.MORE),
    "connections_s": Figure("connections opened/s", Better.MORE),
    "connections_ended_s": Figure("connections closed/s", Better.MORE),
    "connection_kb": Figure("KB for each connection", Better.LESS),
    "queues_s": Figure("queues declared/s", Better.MORE),
    "queues_ended_s": Figure("queues deleted/s", Better.MORE),
    "queue_kb": Figure("KB for each queue", Better.LESS),
    "cycles_s": Figure("cycles/s", Better.MORE),
    "requests_s": Figure("requests/s", Better.MORE),
    "p50_at_200_us": Figure("p50 at 200/s, µs", Better.LESS),
    "p99_at_200_us": Figure("p99 at 200/s, µs", Better.LESS),
    "p50_us": Figure("p50, µs", Better.LESS),
    "p99_us": Figure("p99, µs", Better.LESS),
    "alone_p50_us": Figure("p50 alone, µs", Better.LESS),
    "alone_p99_us": Figure("p99 alone, µs", Better.LESS),
    "of_plain": Figure("of what it is plain", Better.NEITHER),
    "per_cpu_s_of_plain": Figure("for each CPU second, of plain", Better.NEITHER),
    "done_per_cpu_s": Figure("for each CPU second", Better.MORE),
    "cpu_s": Figure("CPU seconds", Better.NEITHER),
    "peak_mb": Figure("peak memory, MB", Better.LESS),
}

MEASURED_PLAIN = (
    "delivered_s",
    "requests_s",
    "p50_at_200_us",
    "p99_at_200_us",
    "p50_us",
    "p99_us",
    "done_per_cpu_s",
    "cpu_s",
)
"""What scenarios with TLS measure without it as well."""

FIGURES |= {f"plain_{name}": Figure(f"{FIGURES[name].label}, plain", FIGURES[name].better) for name in MEASURED_PLAIN}

CHARTED = {
    "a16": ("delivered_s",),
    "a1k": ("delivered_s",),
    "b": ("delivered_s",),
    "c": ("delivered_s",),
    "d": ("delivered_s",),
    "e": ("delivered_s",),
    "f": ("filled_s", "drained_s"),
    "g-connections": ("connections_s", "connection_kb"),
    "g-queues": ("queues_s", "queue_kb"),
    "h": ("requests_s", "p50_us", "p50_at_200_us"),
    "i": ("p50_us",),
    "j": ("delivered_s",),
    "k": ("cycles_s",),
    "l": ("p50_us", "p99_us"),
    "b-crowded": ("delivered_s",),
    "rpc-beside-flood": ("p99_us",),
    "l-backlog": ("p50_us",),
    "tls-a16": ("delivered_s",),
    "tls-b": ("delivered_s",),
    "tls-h": ("requests_s",),
}
"""Of each scenario, the figures that the chart shows."""
