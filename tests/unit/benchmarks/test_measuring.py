"""Spans of time, percentiles, and what processes use."""

import os
import time

import pytest

from benchmarks.latencies import percentile_us, percentiles_us
from benchmarks.span import Span
from benchmarks.usage import Meter, cpu_seconds, peak_bytes, processes, resident_bytes
from benchmarks.workers import GeneratorError


def test_only_what_happens_in_the_span_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([9.0, 11.0, 13.0, 16.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    span = Span(10.0, 15.0)
    assert [span.over(count, 2 * count) for count in (100, 200, 300, 450)] == [False, False, False, True]
    assert span.rates == [50.0, 100.0]
    assert span.counts_since(10.0)
    assert not span.counts_since(9.9)


def test_percentiles() -> None:
    times = [1000 * number for number in range(1, 101)]
    assert percentile_us(times, 0.5) == 51
    assert percentile_us(times, 0.99) == 100
    assert percentiles_us([3000, 1000, 2000]) == (2, 3)


def test_percentiles_of_nothing() -> None:
    with pytest.raises(GeneratorError, match="nothing happened"):
        percentiles_us([])


def test_what_a_process_uses() -> None:
    assert os.getpid() in processes(os.getpid())
    meter = Meter(os.getpid())
    begin = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) < begin + 0.02:
        pass
    usage = meter.read()
    # Less than the sum by what floats lose.
    assert usage.cpu_s > 0.015
    assert usage.seconds > 0
    assert usage.peak_bytes > 1 << 20
    assert 1 << 20 < resident_bytes(os.getpid()) <= peak_bytes(os.getpid()) + (1 << 20)
