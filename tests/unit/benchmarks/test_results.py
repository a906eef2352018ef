"""Results in a file."""

import json
from pathlib import Path

import pytest

from benchmarks.results import ResultsError, figures_of, read_results
from benchmarks.trial import Outcome
from benchmarks.usage import Usage
from tests.unit.benchmarks.samples import result


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "results"
    results = [result("haypile", 1, delivered_s=500.5), result("rabbitmq", 1, delivered_s=20.0)]
    path.write_text("".join(one.line() for one in results))
    assert read_results(path) == results


def test_a_line_is_json_with_figures_as_exact_as_they_are() -> None:
    line = result("haypile", 2, p50_us=70.123456789, delivered_s=563_123.9).line()
    assert line.endswith("\n")
    assert json.loads(line) == {
        "time": "2026-11-22T10:00:00+00:00",
        "scenario": "b",
        "broker": "haypile",
        "server": "Haypile 0.1.0",
        "run": 2,
        "seconds": 3.0,
        "figures": {"p50_us": 70.1235, "delivered_s": 563124.0},
    }


@pytest.mark.parametrize("line", ["{", "[1]", '{"time": "now"}', "text"])
def test_what_no_run_has_written_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "results"
    path.write_text(result("haypile", 1).line() + line + "\n")
    with pytest.raises(ResultsError, match="line 2: not a result"):
        read_results(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="No such file"):
        read_results(tmp_path / "none")


def test_what_the_broker_used_belongs_to_the_figures() -> None:
    outcome = Outcome({"delivered_s": 100.0}, Usage(2.0, 0.5, 40_000_000), 200)
    assert figures_of(outcome) == {"delivered_s": 100.0, "done_per_cpu_s": 400.0, "cpu_s": 0.5, "peak_mb": 40.0}


def test_no_cpu_time_at_all_is_the_least_that_can_be_told() -> None:
    assert figures_of(Outcome({}, Usage(2.0, 0.0, 0), 2))["done_per_cpu_s"] == 200
