"""Measures the scenarios of docs/performance.md: Haypile, and a peer in alternation with it.

usage: python -m benchmarks [--scenario NAME[,NAME]] [--peer rabbitmq] [--runs N] [--seconds S] [--output FILE] ...
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from benchmarks.brokers import BROKERS, Broker, BrokerUnavailableError, remove
from benchmarks.chart import ChartError, chart
from benchmarks.client import Client
from benchmarks.results import Result, figures_of
from benchmarks.scenarios import SCENARIOS
from benchmarks.summary import MEASURED
from benchmarks.table import text_table
from benchmarks.trial import Effort, Trial
from benchmarks.workers import GeneratorError, Workers

PEERS = [name for name in BROKERS if name != MEASURED]


def _scenarios(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SCENARIOS:
            raise argparse.ArgumentTypeError(f"there is no scenario {name!r}: choose from {', '.join(SCENARIOS)}")
    return names


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _seconds(least: float) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= 3600:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from {least:g} to 3600")
        return value

    return seconds


def parser() -> argparse.ArgumentParser:
    """Return what reads the options."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures Haypile, and a peer in alternation with it: each broker on ports and in a directory of "
        "its own, with its defaults. Prints a line of JSON for each run, and a table of medians and spreads.",
        epilog="scenarios: "
        + "; ".join(f"{name} ({scenario.what})" for name, scenario in SCENARIOS.items())
        + ". docs/performance.md has more.",
    )
    defaults = Effort()
    options.add_argument(
        "--scenario", type=_scenarios, default=list(SCENARIOS), metavar="NAME[,NAME]", help="only these (default: all)"
    )
    options.add_argument("--peer", choices=PEERS, help="a broker to compare with (default: none)")
    options.add_argument("--runs", type=_count, default=3, help="runs of each broker (default: %(default)s)")
    options.add_argument(
        "--seconds", type=_seconds(0.05), default=defaults.seconds, help="how long a run takes (default: %(default)g)"
    )
    options.add_argument(
        "--warmup", type=_seconds(0), default=defaults.warmup_s, help="seconds before it (default: %(default)g)"
    )
    options.add_argument(
        "--backlog", type=_count, default=defaults.backlog, help="messages in l-backlog (default: %(default)s)"
    )
    options.add_argument("--directory", type=Path, help="where the brokers' data goes (default: a temporary directory)")
    options.add_argument("--output", type=Path, metavar="FILE", help="append the lines of JSON to this file as well")
    options.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios into this SVG; needs --peer")
    return options


@contextmanager
def started(names: Sequence[str], parent: Path | None) -> Iterator[list[tuple[str, Broker]]]:
    """Start brokers with empty directories; end them and remove what they left."""
    directory = Path(tempfile.mkdtemp(prefix="haypile-benchmark-", dir=parent))
    brokers: list[tuple[str, Broker]] = []
    try:
        for name in names:
            (directory / name).mkdir()
            brokers.append((name, BROKERS[name](directory / name)))
        yield brokers
    finally:
        for _, broker in brokers:
            broker.stop()
        remove(directory)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Which brokers are measured, how often and how long."""

    brokers: Sequence[str]
    runs: int
    effort: Effort
    directory: Path | None = None

    def results(self, scenario: str) -> Iterator[Result]:
        """Measure a scenario; the brokers alternate, run by run."""
        if SCENARIOS[scenario].fresh:
            for run in range(1, self.runs + 1):
                yield from self._alternating(scenario, [run])
        else:
            yield from self._alternating(scenario, range(1, self.runs + 1))

    def _alternating(self, scenario: str, runs: Sequence[int]) -> Iterator[Result]:
        with started(self.brokers, self.directory) as brokers, Workers() as workers:
            for run in runs:
                for name, broker in brokers:
                    client = Client(broker.port)
                    server = client.server
                    client.close()
                    try:
                        outcome = SCENARIOS[scenario].run(Trial(broker, workers, self.effort))
                    except (GeneratorError, OSError) as error:
                        raise GeneratorError(f"{scenario}, {name}: {error}") from error
                    now = datetime.now(UTC).isoformat(timespec="seconds")
                    seconds = round(outcome.usage.seconds, 3)
                    yield Result(now, scenario, name, server, run, seconds, figures_of(outcome))


def allow_files() -> None:
    """Let this process and the brokers have as many connections as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Measure what is asked for."""
    options = parser()
    arguments = options.parse_args()
    if arguments.chart is not None and arguments.peer is None:
        options.error("--chart shows ratios: it needs --peer")
    brokers = [MEASURED, arguments.peer] if arguments.peer else [MEASURED]
    effort = Effort(seconds=arguments.seconds, warmup_s=arguments.warmup, backlog=arguments.backlog)
    measurement = Measurement(brokers, arguments.runs, effort, arguments.directory)
    allow_files()
    results: list[Result] = []
    error = ""
    try:
        if arguments.output is not None:
            with arguments.output.open("a") as output:
                measure(measurement, arguments.scenario, results, output)
        else:
            measure(measurement, arguments.scenario, results, None)
    except (GeneratorError, BrokerUnavailableError) as failure:
        error = str(failure)
    except OSError as failure:
        error = f"{failure.filename}: {failure.strerror}" if failure.filename else str(failure)
    if results:
        sys.stdout.write("\n" + text_table(results))
    if error:
        sys.exit(f"benchmarks: {error}")
    if arguments.chart is not None:
        try:
            arguments.chart.write_text(chart(results))
        except (ChartError, OSError) as failure:
            sys.exit(f"benchmarks: {arguments.chart}: {failure}")


def measure(measurement: Measurement, scenarios: Sequence[str], results: list[Result], output: TextIO | None) -> None:
    """Measure scenarios, and write down each result as soon as it is there."""
    for scenario in scenarios:
        for result in measurement.results(scenario):
            results.append(result)
            for stream in (sys.stdout, output):
                if stream is not None:
                    stream.write(result.line())
                    stream.flush()


if __name__ == "__main__":
    main()
