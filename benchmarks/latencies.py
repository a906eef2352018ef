"""Times that something took, and what is said about them."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.workers import GeneratorError

NS_PER_US = 1000.0


def percentile_us(times_ns: Sequence[int], share: float) -> float:
    """Return the time, in microseconds, that this share of the times, which are sorted, does not exceed."""
    return times_ns[min(int(share * len(times_ns)), len(times_ns) - 1)] / NS_PER_US


def percentiles_us(times_ns: list[int]) -> tuple[float, float]:
    """Return the 50th and the 99th percentile in microseconds. Raises ``GeneratorError`` where there is nothing."""
    if not times_ns:
        raise GeneratorError("nothing happened in the time that is measured")
    ordered = sorted(times_ns)
    return percentile_us(ordered, 0.5), percentile_us(ordered, 0.99)
