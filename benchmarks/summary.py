"""Runs to medians, spreads and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.figures import FIGURES, Better
from benchmarks.results import Result

MEASURED = "haypile"


@dataclass(frozen=True, slots=True)
class Summary:
    """The median of some runs, and the distance from the smallest to the largest as a share of it."""

    median: float
    spread: float


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a scenario: a summary for each broker, and how many times better than the peer Haypile is."""

    scenario: str
    figure: str
    summaries: dict[str, Summary]
    ratio: float | None


def summary(values: Sequence[float]) -> Summary:
    """Return median and spread."""
    median = statistics.median(values)
    return Summary(median, (max(values) - min(values)) / abs(median) if median else 0.0)


def ratio(figure: str, ours: float, theirs: float) -> float | None:
    """Return how many times better ours is; None where that means nothing."""
    better = FIGURES[figure].better
    if better is Better.NEITHER or ours <= 0 or theirs <= 0:
        return None
    return ours / theirs if better is Better.MORE else theirs / ours


def brokers_of(results: Iterable[Result]) -> list[str]:
    """Return the brokers that were measured, Haypile first."""
    found = dict.fromkeys(result.broker for result in results)
    return sorted(found, key=lambda broker: broker != MEASURED)


def rows(results: Iterable[Result]) -> list[Row]:
    """Return a row for each figure of each scenario, in the order in which they came."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for result in results:
        for figure, value in result.figures.items():
            values.setdefault((result.scenario, figure), {}).setdefault(result.broker, []).append(value)
    table = []
    for (scenario, figure), by_broker in values.items():
        summaries = {broker: summary(runs) for broker, runs in by_broker.items()}
        peers = [broker for broker in summaries if broker != MEASURED]
        times = None
        if MEASURED in summaries and len(peers) == 1:
            times = ratio(figure, summaries[MEASURED].median, summaries[peers[0]].median)
        table.append(Row(scenario, figure, summaries, times))
    return sorted(table, key=lambda row: _order(row, table))


def _order(row: Row, table: list[Row]) -> int:
    """Keep the figures of a scenario together, where its first one stands."""
    return next(index for index, other in enumerate(table) if other.scenario == row.scenario)
