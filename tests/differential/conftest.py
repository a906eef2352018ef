"""Fixtures of the differential test: the two brokers, and one player for each.

``HAYPILE_TEST_RABBITMQ=host:port`` uses a RabbitMQ that is already there (with ``max_message_size = 1048576``); without
it, one is started if it is installed. ``HAYPILE_TEST_DIFFERENTIAL=rabbitmq`` plays RabbitMQ against itself: it proves
that the scenarios show the same thing each time.
"""

import os
from collections.abc import Iterator

import pytest

from tests.conftest import ORACLE
from tests.differential.player import Player
from tests.support.rabbitmq_process import RabbitMQProcess, why_unavailable
from tests.support.raw_client import Address

RABBITMQ = os.environ.get("HAYPILE_TEST_RABBITMQ")
AGAINST_ITSELF = os.environ.get("HAYPILE_TEST_DIFFERENTIAL") == "rabbitmq"


@pytest.fixture(scope="session")
def rabbitmq_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The address of the RabbitMQ that Haypile is compared with."""
    if RABBITMQ is not None:
        host, _, port = RABBITMQ.rpartition(":")
        yield host, int(port)
        return
    if (reason := why_unavailable()) is not None:
        pytest.skip(reason)
    broker = RabbitMQProcess(tmp_path_factory.mktemp("rabbitmq"))
    try:
        broker.start()
        yield broker.address
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def rabbitmq(rabbitmq_address: Address) -> Iterator[Player]:
    """Plays against RabbitMQ."""
    player = Player(rabbitmq_address)
    yield player
    player.close()


@pytest.fixture(scope="session")
def haypile(request: pytest.FixtureRequest) -> Iterator[Player]:
    """Plays against Haypile."""
    if ORACLE is not None:
        pytest.skip("the broker under test is the oracle itself")
    player = Player(request.getfixturevalue("rabbitmq_address" if AGAINST_ITSELF else "address"))
    yield player
    player.close()
