"""The guard against a hot path that gets slower."""

import json

from benchmarks.instructions import RECORDED, WORKLOADS, slower


def test_more_than_the_tolerance_is_told() -> None:
    recorded = {"a": 1000, "b": 2000, "c": 3000}
    assert slower({"a": 1050, "b": 2101, "c": 1500}, recorded) == ["b"]


def test_each_workload_has_a_record() -> None:
    assert set(json.loads(RECORDED.read_text())) == set(WORKLOADS)
