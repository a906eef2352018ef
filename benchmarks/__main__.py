"""usage: python -m benchmarks [--scenario NAME] [--peer rabbitmq] [--runs N] [--seconds S]"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.brokers import BROKERS, BrokerUnavailableError, cpu_seconds, remove, resident_bytes
from benchmarks.generator import Load, run

SCENARIOS = {
    "a16": Load(16),
    "a1k": Load(1024),
    "b": Load(1024, durable=True, window=1000, prefetch=1000, ack_every=10),
}


def main() -> None:
    """Measure, in alternation, and print a JSON line for each run and a table of medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--scenario", choices=SCENARIOS, help="only this one")
    parser.add_argument(
        "--peer", choices=[name for name in BROKERS if name != "haypile"], help="a broker to compare with"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="haypile-benchmark-"))
    brokers = []
    try:
        for name in ("haypile", arguments.peer):
            if name is not None:
                (directory / name).mkdir()
                brokers.append(BROKERS[name](directory / name))
        rates: dict[tuple[str, str], list[float]] = {}
        for scenario in [arguments.scenario] if arguments.scenario else SCENARIOS:
            for _ in range(arguments.runs):
                for broker in brokers:
                    before = cpu_seconds(broker.pid)
                    result = run(broker.port, SCENARIOS[scenario], arguments.seconds)
                    used = cpu_seconds(broker.pid) - before
                    result["delivered_per_cpu_s"] = result["delivered_s"] * arguments.seconds / max(used, 0.01)
                    memory = round(resident_bytes(broker.pid) / 1e6, 1)
                    line = {"broker": broker.name, "scenario": scenario, "cpu_s": round(used, 2), "memory_mb": memory}
                    sys.stdout.write(
                        json.dumps({**line, **{key: round(value) for key, value in result.items()}}) + "\n"
                    )
                    sys.stdout.flush()
                    rates.setdefault((scenario, broker.name), []).append(result["delivered_s"])
        _table(rates)
    except BrokerUnavailableError as error:
        sys.exit(f"benchmarks: {error}")
    finally:
        for broker in brokers:
            broker.stop()
        remove(directory)


def _table(rates: dict[tuple[str, str], list[float]]) -> None:
    sys.stdout.write("\nscenario  broker     median/s    spread  ratio\n")
    for (scenario, name), values in rates.items():
        median = statistics.median(values)
        spread = (max(values) - min(values)) / median if median else 0.0
        ratio = statistics.median(rates[scenario, "haypile"]) / median if median else 0.0
        sys.stdout.write(f"{scenario:8}  {name:9}{median:>11,.0f}{spread:>9.0%}{ratio:>7.1f}\n")


if __name__ == "__main__":
    main()
