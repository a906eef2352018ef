"""What the tests of paging share: a broker with room for two messages or so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import clock
from tests.support.paging_broker import PagingBroker


@pytest.fixture(autouse=True)
def _time_goes_on() -> Iterator[None]:
    yield
    clock.stand_still(0)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[PagingBroker]:
    opened = PagingBroker(tmp_path, message_memory_bytes=600)
    yield opened
    assert opened.errors == []
    opened.crash()
