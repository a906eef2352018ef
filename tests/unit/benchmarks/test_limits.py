"""What the machine allows: each measurement gives its figures."""

import json

import pytest

from benchmarks import limits


def test_each_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    limits.main(["--seconds", "0.05"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len({line.pop("what") for line in lines}) == 7
    assert all(value > 0 for line in lines for value in line.values())
