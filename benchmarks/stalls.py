"""How late the event loop gets while the journal has work: sealing, paging, draining and compaction; and the disk.

usage: python -m benchmarks.stalls [--seconds 20] [--backlog 5000000] [--directory PATH]

The broker's own histogram of its event loop's lag is read before and after each step. In the last step one of many
messages stays for good while all others come and go, so that every segment of the journal holds some that live: the
worst there is for what the journal takes on disk, which compaction has to bound.
"""

from __future__ import annotations

import argparse
import re
import socket
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from benchmarks.backlog import BLOCK_LENGTH, Steps, consume, publish
from benchmarks.brokers import Haypile, remove
from benchmarks.client import READ_SIZE_BYTES, Client
from benchmarks.generator import run
from benchmarks.publishing import UNLIMITED, Block, Publisher, Publishers
from benchmarks.queues import say
from benchmarks.scenarios import CONFIRMED
from benchmarks.topology import QUEUE
from benchmarks.workers import Workers
from protocol.amqp.methods import BasicConsume, QueueDeclare, QueueDelete

LAG = re.compile(r'^haypile_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)
MESSAGE_MEMORY_BYTES = 64 << 20
SEGMENT_SIZE_BYTES = 64 << 20
LASTING = "haypile-benchmark-lasting"
LASTING_EVERY = 1_000
BODY_SIZE_BYTES = 1_000
RECORD_OVERHEAD_BYTES = 96
GOING_LENGTH = 1_000
WINDOW_LENGTH = 10_000
SETTLED_TIMEOUT_S = 120.0
POLL_S = 0.25


class Lag:
    """Tells how often the event loop was how late since the last time it was asked."""

    def __init__(self, broker: Haypile) -> None:
        self._url = broker.metrics_url
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        with urllib.request.urlopen(self._url, timeout=10) as answer:
            return {bound: float(count) for bound, count in LAG.findall(answer.read().decode())}

    def since(self) -> dict[str, int]:
        """Return how many measurements were later than each bound, in milliseconds; without those that none passed."""
        now = self._read()
        counts = {bound: count - self._before[bound] for bound, count in now.items()}
        self._before = now
        total = counts["+Inf"]
        later = {f"over {float(bound) * 1000:g} ms": int(total - count) for bound, count in counts.items()}
        return {"measured": int(total)} | {name: count for name, count in later.items() if count}


def hold(port: int) -> Client:
    """Consume what lasts, and acknowledge none of it, as long as the connection is open."""
    client = Client(port)
    client.call(1, BasicConsume(queue=LASTING))
    client.socket.settimeout(None)

    def receive() -> None:
        while client.socket.recv(READ_SIZE_BYTES):
            pass

    threading.Thread(target=receive, daemon=True).start()
    return client


def come_and_go(port: int, seconds: float) -> int:
    """Publish, with confirms, a few messages that stay among many that go at once; return how many stay."""
    block = Block()
    for number in range(BLOCK_LENGTH):
        block.add("", LASTING if number % LASTING_EVERY == 0 else QUEUE, bytes(BODY_SIZE_BYTES), True)
    publisher = Publisher(Client(port), block, WINDOW_LENGTH, BLOCK_LENGTH)
    publishers = Publishers([publisher])
    end = time.monotonic() + seconds
    while (goes_on := time.monotonic() < end) or not publishers.settled:
        publishers.step(POLL_S, UNLIMITED if goes_on else 0)
    publishers.close()
    published = publisher.published
    say(step="lasting", messages=published, per_s=round(published / seconds))
    return published // LASTING_EVERY


def journal_bytes(directory: Path) -> int:
    """Return what the segments of the journal take on disk."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("segment-*"))


def main() -> None:
    """Measure, and print a JSON line for each step."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stalls")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--backlog", type=int, default=5_000_000)
    parser.add_argument("--directory", type=Path, default=None, help="where the data goes, which takes much room")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="haypile-benchmark-", dir=arguments.directory))
    settings = {
        "message-memory-bytes": str(MESSAGE_MEMORY_BYTES),
        "journal-segment-size-bytes": str(SEGMENT_SIZE_BYTES),
    }
    broker = Haypile(directory, settings)
    try:
        lag = Lag(broker)
        time.sleep(2)
        say(step="idle", lag=lag.since())
        with Workers() as workers:
            rates = run(workers, broker.port, broker.pid, CONFIRMED, arguments.seconds)
        say(step="live", per_s=round(rates.delivered_s), lag=lag.since())
        client = Client(broker.port)
        client.call(1, QueueDeclare(queue=QUEUE, durable=True))
        count = -(-arguments.backlog // BLOCK_LENGTH) * BLOCK_LENGTH
        publish(broker.port, count, 100, Steps("fill", count))
        say(step="fill", lag=lag.since())
        consume(broker.port, count, 100, Steps("drain", count))
        say(step="drain", lag=lag.since())
        publish(broker.port, count, 100, Steps("fill", count))
        lag.since()
        client.socket.settimeout(60)
        client.call(1, QueueDelete(queue=QUEUE))
        time.sleep(3)
        say(step="delete the full queue", lag=lag.since())
        # Most messages go because the queue may have no more: no consumer's speed comes in.
        client.call(1, QueueDeclare(queue=QUEUE, durable=True, arguments={"x-max-length": GOING_LENGTH}))
        client.call(1, QueueDeclare(queue=LASTING, durable=True))
        holder = hold(broker.port)
        lag.since()
        lasting = come_and_go(broker.port, arguments.seconds)
        say(step="compact under load", lag=lag.since(), disk_bytes=journal_bytes(directory))
        living = (lasting + GOING_LENGTH) * (BODY_SIZE_BYTES + RECORD_OVERHEAD_BYTES)
        # And the file that is ready for the next segment.
        allowed = int(1.5 * living) + 3 * SEGMENT_SIZE_BYTES
        begin = time.monotonic()
        while (used := journal_bytes(directory)) > allowed and time.monotonic() < begin + SETTLED_TIMEOUT_S:
            time.sleep(POLL_S)
        settled_s = round(time.monotonic() - begin, 1)
        say(step="disk", lag=lag.since(), living=living, allowed=allowed, disk_bytes=used, after_s=settled_s)
        holder.socket.shutdown(socket.SHUT_RDWR)
    finally:
        broker.stop()
        remove(directory)


if __name__ == "__main__":
    main()
