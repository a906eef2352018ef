"""The results of runs: a line of JSON for each, in a file that grows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.trial import Outcome

MB = 1e6


class ResultsError(Exception):
    """A file of results that cannot be read."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of a scenario gave."""

    time: str
    scenario: str
    broker: str
    server: str
    run: int
    seconds: float
    figures: dict[str, float]

    def line(self) -> str:
        """Return it as a line of JSON."""
        rounded = {name: float(f"{value:.6g}") for name, value in self.figures.items()}
        return json.dumps({**asdict(self), "figures": rounded}) + "\n"


def figures_of(outcome: Outcome) -> dict[str, float]:
    """Return the figures of a run, with those that every scenario has."""
    usage = outcome.usage
    return {
        **outcome.figures,
        "done_per_cpu_s": outcome.done_per_cpu_s,
        "cpu_s": usage.cpu_s,
        "peak_mb": usage.peak_bytes / MB,
    }


def read_results(path: Path) -> list[Result]:
    """Return what a file holds. Raises ``ResultsError`` for what no run has written."""
    results = []
    try:
        text = path.read_text()
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(text.splitlines(), 1):
        try:
            results.append(Result(**json.loads(line)))
        except (ValueError, TypeError):
            raise ResultsError(f"{path}, line {number}: not a result: {line[:80]}") from None
    return results
