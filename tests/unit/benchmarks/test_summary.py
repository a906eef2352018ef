"""Medians, spreads and ratios."""

import pytest

from benchmarks.summary import Summary, brokers_of, ratio, rows, summary
from tests.unit.benchmarks.samples import result


@pytest.mark.parametrize(
    ("values", "expected"),
    [([100.0], (100, 0)), ([80.0, 100.0, 110.0], (100, 0.3)), ([1.0, 3.0], (2, 1)), ([0.0, 0.0], (0, 0))],
)
def test_median_and_spread(values: list[float], expected: tuple[float, float]) -> None:
    assert summary(values) == Summary(*expected)


def test_more_is_better_or_less() -> None:
    assert ratio("delivered_s", 300, 100) == 3
    assert ratio("p50_us", 100, 300) == 3
    assert ratio("cpu_s", 1, 2) is None
    assert ratio("connection_kb", -0.5, 70) is None
    assert ratio("delivered_s", 300, 0) is None


def test_haypile_comes_first() -> None:
    assert brokers_of([result("rabbitmq", 1), result("haypile", 1)]) == ["haypile", "rabbitmq"]


def test_a_row_for_each_figure() -> None:
    results = [
        result("haypile", 1, delivered_s=200.0),
        result("rabbitmq", 1, delivered_s=40.0),
        result("haypile", 1, "l", p50_us=80.0),
        result("haypile", 2, delivered_s=240.0, cpu_s=1.0),
        result("rabbitmq", 2, delivered_s=60.0),
    ]
    table = rows(results)
    assert [(row.scenario, row.figure) for row in table] == [("b", "delivered_s"), ("b", "cpu_s"), ("l", "p50_us")]
    assert table[0].summaries["haypile"].median == 220
    assert table[0].summaries["rabbitmq"].median == 50
    assert table[0].ratio == pytest.approx(4.4)
    assert table[2].ratio is None
