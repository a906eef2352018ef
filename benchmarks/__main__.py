"""Measures the scenarios of docs/performance.md: Haypile, and a peer in alternation with it.

usage: python -m benchmarks [--scenario NAME[,NAME]] [--peer rabbitmq] [--runs N] [--seconds S] [--output FILE] ...
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import TextIO

from benchmarks.brokers import BrokerUnavailableError
from benchmarks.chart import ChartError, chart
from benchmarks.measurement import Measurement, allow_files
from benchmarks.options import parser
from benchmarks.results import Result
from benchmarks.summary import MEASURED
from benchmarks.table import text_table
from benchmarks.trial import Effort
from benchmarks.workers import GeneratorError


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
    # However the program is ended, it ends the brokers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
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
    except KeyboardInterrupt:
        error = "interrupted"
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
