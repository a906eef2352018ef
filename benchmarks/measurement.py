"""Runs of a scenario: brokers that are started for them, and alternate."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.brokers import BROKERS, Broker, remove
from benchmarks.client import Client
from benchmarks.results import Result, figures_of
from benchmarks.scenarios import SCENARIOS
from benchmarks.tls import make_certificate
from benchmarks.trial import Effort, Trial
from benchmarks.workers import GeneratorError, Workers


def allow_files() -> None:
    """Let this process and the brokers have as many connections as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def started(names: Sequence[str], parent: Path | None, tls: bool = False) -> Iterator[list[tuple[str, Broker]]]:
    """Start brokers with empty directories, and with TLS if need be; end them and remove what they left."""
    directory = Path(tempfile.mkdtemp(prefix="haypile-benchmark-", dir=parent))
    brokers: list[tuple[str, Broker]] = []
    try:
        certificate = make_certificate(directory) if tls else None
        for name in names:
            (directory / name).mkdir()
            brokers.append((name, BROKERS[name](directory / name, certificate=certificate)))
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
        with started(self.brokers, self.directory, SCENARIOS[scenario].tls) as brokers, Workers() as workers:
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
