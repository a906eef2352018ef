"""Running seeds, here or in several processes, and saying which failed and how."""

import logging
import multiprocessing
import time
from collections.abc import Iterable
from typing import NamedTuple

import structlog

from tests.simulation.broker_run import BrokerRun
from tests.simulation.journal_run import JournalRun

RUNS: dict[str, type[JournalRun] | type[BrokerRun]] = {"journal": JournalRun, "broker": BrokerRun}
CHUNK_SIZE = 20

CHUNKS_PER_PROCESS = 25
"""A broker that crashed in the middle of things is never taken apart, and stays in the memory of its process."""


class Outcome(NamedTuple):
    """How a seed ended: ``problem`` is empty where every promise was kept."""

    what: str
    seed: int
    problem: str
    checksum: int


def be_quiet() -> None:
    """Log nothing: what the broker and the journal say about thousands of crashes is of no use."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def run_seed(case: tuple[str, int]) -> Outcome:
    """Run one seed of one simulation."""
    what, seed = case
    run = RUNS[what](seed)
    try:
        run.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what this seed has found
        return Outcome(what, seed, f"{type(error).__name__}: {error}", run.trace.checksum)
    return Outcome(what, seed, "", run.trace.checksum)


def run_seeds(cases: Iterable[tuple[str, int]], processes: int) -> Iterable[Outcome]:
    """Run seeds in some processes, and hand out the outcomes as they come."""
    with multiprocessing.get_context("fork").Pool(processes, be_quiet, maxtasksperchild=CHUNKS_PER_PROCESS) as pool:
        yield from pool.imap_unordered(run_seed, cases, CHUNK_SIZE)


def how_to_replay(what: str, seed: int) -> str:
    """Return the command that shows a seed step by step."""
    return f"python -m tests.simulation --only {what} --replay {seed}"


def report(outcomes: Iterable[Outcome]) -> int:
    """Print the seeds that fail, and how things go. Returns how many failed."""
    count = failed = 0
    began = shown = time.monotonic()
    for outcome in outcomes:
        count += 1
        if outcome.problem:
            failed += 1
            print(f"{outcome.what} seed {outcome.seed} fails: {outcome.problem}")
            print(f"    {how_to_replay(outcome.what, outcome.seed)}", flush=True)
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            print(f"... {count} runs, {failed} failed, {count / (shown - began):.0f} a second", flush=True)
    print(f"{count} runs in {time.monotonic() - began:.1f} s, {failed} failed")
    return failed
