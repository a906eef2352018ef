"""How many instructions the broker takes for each message, request or cycle: what noise cannot change.

usage: python -m benchmarks.instructions [--check | --record] [--scenario NAME]

The broker runs under valgrind, which counts, and fixed workloads go through it over sockets as they always do. What a
workload takes is counted twice, and the lower count holds. ``--record`` writes the counts to ``instructions.json``;
``--check`` compares with it, and fails where a message takes ``TOLERANCE`` more than recorded.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

from benchmarks.brokers import Haypile, remove
from benchmarks.connections import cycle_count
from benchmarks.generator import run_count
from benchmarks.round_trips import REQUESTS, request_count
from benchmarks.scenarios import CONFIRMED, FANNED_OUT, MANY_KEYS
from benchmarks.topology import Load, Topology
from benchmarks.workers import Workers

RECORDED = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.05
START_TIMEOUT_S = 120.0
RUN_TIMEOUT_S = 60.0
ROUNDS = 2


@contextmanager
def _stream(load: Load, workers: Workers, port: int, count: int) -> Iterator[Callable[[], None]]:
    with Topology(port, load):
        yield partial(run_count, workers, port, load, count)


@contextmanager
def _requests(workers: Workers, port: int, count: int) -> Iterator[Callable[[], None]]:
    def run() -> None:
        workers[0].start(request_count, port, REQUESTS.queue, count)
        workers[0].receive()

    with Topology(port, REQUESTS):
        yield run


@contextmanager
def _cycles(workers: Workers, port: int, count: int) -> Iterator[Callable[[], None]]:
    def run() -> None:
        workers[0].start(cycle_count, port, count)
        workers[0].receive()

    yield run


Workload: TypeAlias = Callable[[Workers, int, int], AbstractContextManager[Callable[[], None]]]

WORKLOADS: dict[str, tuple[Workload, int]] = {
    "a16": (partial(_stream, Load(16)), 200_000),
    "a1k": (partial(_stream, Load(1024)), 50_000),
    "b": (partial(_stream, CONFIRMED), 30_000),
    "d": (partial(_stream, FANNED_OUT), 10_000),
    "e": (partial(_stream, MANY_KEYS), 100_000),
    "h": (_requests, 3_000),
    "k": (_cycles, 300),
}
"""What is done with the topology that it needs, and how often. The topology is not counted."""

DUMPED = re.compile(r"^(?:summary|totals):\s*(\d+)", re.MULTILINE)


class CountedBroker(Haypile):
    """Haypile under valgrind."""

    def __init__(self, directory: Path) -> None:
        self._dumps = directory
        self._dumped = 0
        self.wrapper = [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={directory / 'counts'}",
            "--quiet",
        ]
        # How often the event loop looks for work is a matter of time, and under valgrind time is another.
        super().__init__(directory, {"busy-poll-us": "0"}, START_TIMEOUT_S)

    def count(self) -> int:
        """Return how many instructions were executed since the last time, on all threads."""
        self._dumped += 1
        control = ["callgrind_control", "--dump", str(self.pid)]
        subprocess.run(control, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=RUN_TIMEOUT_S)
        dump = self._dumps / f"counts.{self._dumped}"
        found = DUMPED.findall(dump.read_text())
        dump.unlink()
        return int(found[-1])


def measure(names: list[str]) -> dict[str, int]:
    """Return the instructions for each message of some workloads."""
    directory = Path(tempfile.mkdtemp(prefix="haypile-benchmark-"))
    broker = CountedBroker(directory)
    try:
        counts = {}
        with Workers() as workers:
            for name in names:
                workload, count = WORKLOADS[name]
                lowest = []
                with workload(workers, broker.port, count) as run:
                    for _ in range(ROUNDS):
                        broker.count()
                        run()
                        lowest.append(broker.count() // count)
                counts[name] = min(lowest)
                sys.stdout.write(json.dumps({"scenario": name, "instructions_per_message": lowest}) + "\n")
                sys.stdout.flush()
        return counts
    finally:
        broker.stop()
        remove(directory)


def slower(counts: dict[str, int], recorded: dict[str, int]) -> list[str]:
    """Return the workloads that take more than they may."""
    return [name for name, count in counts.items() if count > recorded[name] * (1 + TOLERANCE)]


def main() -> None:
    """Measure, and compare or record if that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions")
    parser.add_argument("--scenario", choices=WORKLOADS, help="only this one")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare with what was recorded")
    what.add_argument("--record", action="store_true", help="write down what was measured")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("benchmarks: valgrind is not installed")
    counts = measure([arguments.scenario] if arguments.scenario else list(WORKLOADS))
    recorded: dict[str, int] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    if arguments.record:
        RECORDED.write_text(json.dumps(recorded | counts, indent=2) + "\n")
    elif arguments.check:
        for name, count in counts.items():
            difference = count / recorded[name] - 1
            sys.stdout.write(
                f"{name:6}{count:>8} instructions a message, {recorded[name]} recorded ({difference:+.1%})\n"
            )
        if names := slower(counts, recorded):
            sys.exit(f"benchmarks: more instructions a message than recorded: {', '.join(names)}")


if __name__ == "__main__":
    main()
