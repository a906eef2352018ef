"""``make simulate SEEDS=100000``: run as many seeds as asked, or one again (``--replay``), telling what happens."""

import argparse
import itertools
import os
import random
import sys

from tests.simulation.seeds import RUNS, be_quiet, report, run_seeds

FIRST_MAX = 1 << 32


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds of each simulation")
    parser.add_argument("--first", type=int, help="the first of them; any, without it")
    parser.add_argument("--only", choices=sorted(RUNS), help="only this simulation")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int, metavar="SEED", help="run one seed again, and print what happens")
    arguments = parser.parse_args()
    names = [arguments.only] if arguments.only else sorted(RUNS)
    if arguments.replay is not None:
        be_quiet()
        for name in names:
            replay(name, arguments.replay)
        return 0
    first = random.SystemRandom().randrange(FIRST_MAX) if arguments.first is None else arguments.first
    print(f"seeds {first} to {first + arguments.seeds - 1} of: {', '.join(names)}", flush=True)
    cases = itertools.product(names, range(first, first + arguments.seeds))
    return 1 if report(run_seeds(cases, arguments.processes)) else 0


def replay(name: str, seed: int) -> None:
    """Run a seed, and print each step as it is taken."""
    run = RUNS[name](seed)
    remember = run.trace.note

    def note(line: str) -> None:
        remember(line)
        print(line)

    run.trace.note = note  # type: ignore[method-assign]
    run.run()
    print(f"{name} seed {seed} keeps every promise; checksum {run.trace.checksum:08x}")


if __name__ == "__main__":
    sys.exit(main())
