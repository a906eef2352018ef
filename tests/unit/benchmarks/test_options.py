"""What the programs say about their options."""

import sys
from pathlib import Path

import pytest

import benchmarks.__main__ as program
from benchmarks import report
from benchmarks.options import parser
from benchmarks.scenarios import SCENARIOS
from tests.unit.benchmarks.samples import result


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The error message, on one line."""
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scenario", "z"], f"there is no scenario 'z': choose from {', '.join(SCENARIOS)}"),
        (["--scenario", "a16,,b"], "there is no scenario ''"),
        (["--runs", "0"], "argument --runs: '0' is not a whole number of 1 or more"),
        (["--runs", "1.5"], "argument --runs: '1.5' is not a whole number"),
        (["--seconds", "0"], "argument --seconds: '0' is not a number of seconds from 0.05 to 3600"),
        (["--seconds", "nan"], "argument --seconds: 'nan' is not a number of seconds"),
        (["--warmup", "-1"], "argument --warmup"),
        (["--backlog", "many"], "argument --backlog: 'many' is not a whole number"),
        (["--peer", "haypile"], "argument --peer: invalid choice: 'haypile'"),
    ],
)
def test_a_wrong_option_is_told(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([f"{options[0]}={options[1]}"])
    assert ended.value.code == 2
    assert message in said(capsys)


def test_defaults_are_all_scenarios_of_haypile_alone() -> None:
    arguments = parser().parse_args([])
    assert arguments.scenario == list(SCENARIOS)
    assert arguments.peer is None
    assert (arguments.runs, arguments.seconds) == (3, 3.0)


def test_several_scenarios() -> None:
    assert parser().parse_args(["--scenario", "a16, l"]).scenario == ["a16", "l"]


def test_help_names_each_scenario() -> None:
    lines = parser().format_help().splitlines()
    for name, scenario in SCENARIOS.items():
        assert f"  {name:<18}{scenario.what}" in lines


def test_a_chart_needs_a_peer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--chart", "x.svg"])
    with pytest.raises(SystemExit):
        program.main()
    assert "--chart shows ratios: it needs --peer" in said(capsys)


def test_an_output_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "none" / "results"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--output", str(path)])
    with pytest.raises(SystemExit, match="No such file"):
        program.main()


def test_a_report_of_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, chart = tmp_path / "results", tmp_path / "chart.svg"
    results = [result("haypile", 1, delivered_s=500.0), result("rabbitmq", 1, delivered_s=20.0)]
    path.write_text("".join(one.line() for one in results))
    monkeypatch.setattr(sys, "argv", ["report", str(path), "--markdown", "--chart", str(chart)])
    report.main()
    assert "| b | delivered/s | 500 | 0% | 20.0 | 0% | 25.0 |" in capsys.readouterr().out
    assert chart.read_text().startswith("<svg")


def test_a_report_of_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match=r"benchmarks: .*No such file"):
        report.main()
