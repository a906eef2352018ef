"""A broker in this process, on a file system in memory where there is one: a commit costs nothing then."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import clock
from tests.support.in_process import InProcessBroker
from tests.support.raw_client import RawChannel

MEMORY = Path("/dev/shm")


@pytest.fixture
def broker() -> Iterator[InProcessBroker]:
    """A broker whose time stands still."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        broker = InProcessBroker(Path(directory))
        try:
            yield broker
        finally:
            broker.crash()
            clock.stand_still(0)
            assert broker.errors == []


@pytest.fixture
def channel(broker: InProcessBroker) -> RawChannel:
    """Channel 1 of a connection."""
    return broker.connect().channel(1)
