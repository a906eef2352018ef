"""Switching the firehose on and off while channels are open."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from broker.metrics.counters import Counters
from broker.turn import Turn
from broker.vhost import VirtualHost
from storage.options import JournalOptions


def open_vhost(directory: Path) -> VirtualHost:
    options = JournalOptions(segment_size=1 << 20, first_segment_size=1 << 20)
    loop = asyncio.get_running_loop()
    vhost = VirtualHost.open(
        "/", directory, Turn(loop.call_soon), Counters(), options, lambda *_: pytest.fail("journal failed")
    )
    vhost.attach(loop)
    return vhost


def test_taps_are_there_only_while_somebody_looks(tmp_path: Path) -> None:
    async def check() -> None:
        vhost = open_vhost(tmp_path)
        seen: list[Any] = []
        for on in (False, True, True, False):
            if seen:
                vhost.set_tracing(on)
            seen.append((vhost.tracing, vhost.taps.publishing is not None, vhost.taps.delivering is not None))
        vhost.close(asyncio.get_running_loop())
        assert seen == [(False,) * 3, (True,) * 3, (True,) * 3, (False,) * 3]

    asyncio.run(check())
