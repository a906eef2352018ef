"""The options of the program, and what it says about wrong ones."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.brokers import BROKERS
from benchmarks.scenarios import SCENARIOS
from benchmarks.summary import MEASURED
from benchmarks.trial import Effort

PEERS = [name for name in BROKERS if name != MEASURED]


DESCRIPTION = """\
Measures the scenarios of docs/performance.md: Haypile, and a peer in alternation with it. Each broker runs on ports and
in a directory of its own, with its defaults. Prints a line of JSON for each run, and a table of medians and spreads."""


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
        description=DESCRIPTION,
        epilog="scenarios:\n" + "".join(f"  {name:<18}{scenario.what}\n" for name, scenario in SCENARIOS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
