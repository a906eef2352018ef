"""Each scenario of the benchmarks, tiny: that it works, not what it measures."""

import math
import shutil
import socket
import ssl
from collections.abc import Iterator

import pytest

from benchmarks.brokers import Haypile
from benchmarks.client import Client
from benchmarks.figures import CHARTED, FIGURES
from benchmarks.results import figures_of
from benchmarks.scenarios import SCENARIOS
from benchmarks.tls import make_certificate
from benchmarks.trial import Effort, Trial
from benchmarks.workers import GeneratorError, Workers
from broker.version import VERSION

TINY = Effort(
    seconds=0.1,
    warmup_s=0.0,
    hold_s=0.0,
    drained=2_000,
    connections=20,
    queues=50,
    crowd_queues=50,
    crowd_connections=20,
    backlog=2_000,
)

pytestmark = [pytest.mark.haypile_only, pytest.mark.xdist_group("benchmarks")]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A broker and the processes of the load generator, for all scenarios."""
    directory = tmp_path_factory.mktemp("benchmarks")
    certificate = make_certificate(directory) if shutil.which("openssl") else None
    broker = Haypile(directory, certificate=certificate)
    try:
        with Workers() as workers:
            yield Trial(broker, workers, TINY)
    finally:
        broker.stop()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_gives_its_figures(trial: Trial, name: str) -> None:
    if SCENARIOS[name].tls and trial.broker.tls_port is None:
        pytest.skip("openssl is not installed")
    outcome = SCENARIOS[name].run(trial)
    figures = figures_of(outcome)
    assert set(figures) <= set(FIGURES)
    assert set(CHARTED[name]) <= set(figures)
    assert all(math.isfinite(figure) for figure in figures.values())
    # Memory that the scenarios before have left may be enough.
    assert all(figure > 0 for name, figure in outcome.figures.items() if not name.endswith("_kb"))
    assert outcome.done > 0


def test_a_port_with_tls_is_spoken_to_with_tls(trial: Trial) -> None:
    if trial.broker.tls_port is None:
        pytest.skip("openssl is not installed")
    client = Client(trial.broker.tls_port)
    assert isinstance(client.socket, ssl.SSLSocket)
    assert client.socket.version() == "TLSv1.3"
    client.close()


def test_the_broker_is_named(trial: Trial) -> None:
    client = Client(trial.broker.port)
    assert client.server == f"Haypile {VERSION}"
    client.close()


def test_a_broker_that_is_gone_is_told(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # Bound, but nobody listens.
        monkeypatch.setattr(trial.broker, "port", listener.getsockname()[1])
        with pytest.raises(GeneratorError, match=r"churn: .*Connection refused"):
            SCENARIOS["k"].run(trial)
