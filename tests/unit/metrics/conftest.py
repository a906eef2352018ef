"""A broker as the metrics see it: real counters, real virtual hosts with their journals, no sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from broker.configuration import Configuration, MetricsConfiguration
from broker.free_space import DiskAlarm
from broker.memory import MemoryAlarm
from broker.metrics.counters import Counters
from broker.metrics.http import MetricsServer
from broker.metrics.loop_lag import LoopLag
from broker.turn import Turn
from broker.vhost import VirtualHost
from storage.options import JournalOptions
from tests.support.waiting import until


@dataclass
class Observed:
    directory: Path
    configuration: Configuration
    cluster_name: str = "a cluster"
    counters: Counters = field(default_factory=Counters)
    memory: MemoryAlarm = field(default_factory=lambda: MemoryAlarm(1 << 40, 1.0))
    disk: DiskAlarm = field(default_factory=lambda: DiskAlarm("/", 1 << 20, lambda measure: measure()))
    loop_lag: LoopLag = field(default_factory=LoopLag)
    vhosts: dict[str, VirtualHost] = field(default_factory=dict)
    connections: list[Any] = field(default_factory=list)
    reason: str = ""

    def uptime_s(self) -> float:
        return 1.5

    def logins(self) -> tuple[int, int]:
        return 3, 2

    def vhost_directory(self, vhost: str) -> Path:
        return self.directory / vhost.replace("/", "_")

    def health(self) -> tuple[bool, str]:
        return not self.reason, self.reason or "ready"

    def open_vhost(self, name: str) -> VirtualHost:
        options = JournalOptions(segment_size=1 << 20, first_segment_size=1 << 20)
        turn = Turn(asyncio.get_running_loop().call_soon)
        vhost = VirtualHost.open(
            name, self.vhost_directory(name), turn, self.counters, options, lambda *_: pytest.fail("journal failed")
        )
        vhost.attach(asyncio.get_running_loop(), asyncio.get_running_loop().add_reader)
        self.vhosts[name] = vhost
        # The file of the first segment is made in the background.
        until(lambda: any(self.vhost_directory(name).glob("segment-*")))
        return vhost

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[tuple[str, int]]:
        """Serve the two documents; the virtual hosts are closed at the end."""
        server = MetricsServer(self)
        try:
            yield await server.start("127.0.0.1", 0)
        finally:
            await server.stop()
            for vhost in self.vhosts.values():
                vhost.close(asyncio.get_running_loop())


@pytest.fixture
def observed(tmp_path: Path, request: pytest.FixtureRequest) -> Observed:
    """A broker without virtual hosts; its indirect parameter says whether series of single queues are wanted."""
    per_object = getattr(request, "param", False)
    configuration = Configuration(data_dir=str(tmp_path), metrics=MetricsConfiguration(per_object=per_object))
    return Observed(tmp_path, configuration)
