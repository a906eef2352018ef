"""Results as runs give them."""

from benchmarks.results import Result

SERVERS = {"haypile": "Haypile 0.1.0", "rabbitmq": "RabbitMQ 3.10.8"}


def result(broker: str, run: int, scenario: str = "b", **figures: float) -> Result:
    """A result of a run."""
    return Result(f"2026-11-2{run}T10:00:00+00:00", scenario, broker, SERVERS[broker], run, 3.0, figures)
