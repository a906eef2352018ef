"""Fixtures of the integration tests: a broker per worker, connections to it, and fresh names.

``HAYPILE_TEST_BROKER=host:port`` runs the tests against a RabbitMQ that is already there (with ``handshake_timeout =
2000`` and ``max_message_size = 1048576``): it is the oracle that proves the expectations. What only a Haypile can pass
is skipped then: tests that start brokers of their own, and those marked ``haypile_only``. Our reference is RabbitMQ
4.3; what an older RabbitMQ does differently is marked ``since_rabbitmq_4``.

``HAYPILE_TEST_MESSAGE_MEMORY_BYTES=1000`` runs the tests with brokers that keep hardly a message in memory: paging must
change nothing.
"""

import itertools
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.broker_process import BrokerProcess
from tests.support.certificates import Certificates
from tests.support.raw_client import Address, RawChannel, RawClient

ORACLE = os.environ.get("HAYPILE_TEST_BROKER")
MAX_MESSAGE_SIZE = 1 << 20
SHUTDOWN_TIMEOUT_MS = "500"
SETTINGS = {"handshake-timeout-ms": "2000", "max-message-size-bytes": str(MAX_MESSAGE_SIZE)}
MESSAGE_MEMORY_BYTES = os.environ.get("HAYPILE_TEST_MESSAGE_MEMORY_BYTES")
PAGING = {} if MESSAGE_MEMORY_BYTES is None else {"message-memory-bytes": MESSAGE_MEMORY_BYTES}
MARKERS = {
    "haypile_only": "Haypile's own behaviour: skipped when HAYPILE_TEST_BROKER names an oracle",
    "since_rabbitmq_4": "as RabbitMQ 4.3 does it: skipped when the oracle is an older RabbitMQ",
}

StartBroker = Callable[..., BrokerProcess]
Connect = Callable[..., RawClient]


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers of this folder."""
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def oracle_version() -> str:
    """The version that the oracle announces."""
    assert ORACLE is not None
    host, _, port = ORACLE.rpartition(":")
    with RawClient((host, int(port))) as client:
        version: str = client.start().server_properties["version"]
    return version


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the oracle cannot pass."""
    if ORACLE is None:
        return
    version = oracle_version()
    for item in items:
        if "start_broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="starts a broker of its own"))
        if item.get_closest_marker("haypile_only"):
            item.add_marker(pytest.mark.skip(reason="Haypile only"))
        if version.startswith("3.") and item.get_closest_marker("since_rabbitmq_4"):
            item.add_marker(pytest.mark.skip(reason=f"RabbitMQ {version} differs"))


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[StartBroker]:
    """Start brokers for this test alone, each with its settings; they are ended with the test."""
    started: list[BrokerProcess] = []

    def start(settings: dict[str, str] | None = None, environment: dict[str, str] | None = None) -> BrokerProcess:
        directory = tmp_path / f"data-{len(started)}"
        broker = BrokerProcess(directory, {"shutdown-timeout-ms": SHUTDOWN_TIMEOUT_MS, **PAGING, **(settings or {})})
        broker.environment = environment or {}
        started.append(broker)
        broker.start()
        return broker

    yield start
    for broker in started:
        broker.stop()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """What brokers and clients show each other in TLS."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The address of the broker under test: one process for all tests of a worker."""
    if ORACLE is not None:
        host, _, port = ORACLE.rpartition(":")
        yield host, int(port)
        return
    broker = BrokerProcess(tmp_path_factory.mktemp("broker"), SETTINGS | PAGING)
    try:
        broker.start()
        yield broker.address
    finally:
        broker.stop()


@pytest.fixture
def connect(address: Address) -> Iterator[Connect]:
    """Make connections on which nothing was sent yet; they are cut at the end of the test."""
    clients: list[RawClient] = []

    def make() -> RawClient:
        clients.append(RawClient(address))
        return clients[-1]

    yield make
    for client in clients:
        client.socket.close()


@pytest.fixture
def client(connect: Connect) -> RawClient:
    """An open connection."""
    return connect().open()


@pytest.fixture
def channel(client: RawClient) -> RawChannel:
    """Channel 1 of an open connection."""
    return client.channel(1)


@pytest.fixture
def names() -> Iterator[str]:
    """Names that nothing else uses, as many as wanted."""
    prefix = uuid.uuid4().hex[:12]
    return (f"{prefix}-{number}" for number in itertools.count())


@pytest.fixture
def name(names: Iterator[str]) -> str:
    """A name that nothing else uses."""
    return next(names)


@pytest.fixture
def queue(channel: RawChannel, names: Iterator[str]) -> str:
    """An exclusive queue of the test's connection."""
    return channel.declare_queue(next(names), exclusive=True)
