"""A queue that nobody consumes: how fast it fills, what each message costs in memory, and how fast it drains again.

usage: python -m benchmarks.backlog [--count 20000000] [--body 100] [--message-memory-bytes 0] [--no-restart | --kill]
       [--directory PATH]

Persistent messages, confirmed with at most so many in flight as ``WINDOW_LENGTH``. Some more go to an empty queue then,
which tells a backlog that costs time from a machine that has become slower. After that the broker is restarted and the
queue is drained; then a publisher and a consumer work at once, which is the rate to compare with.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.brokers import Haypile, remove
from benchmarks.client import CHANNEL, Client
from benchmarks.consuming import Consumer, Consumers, delivery_size
from benchmarks.publishing import Block, Publisher, Publishers
from benchmarks.queues import say
from benchmarks.topology import QUEUE
from benchmarks.usage import cpu_seconds, resident_bytes
from protocol.amqp.methods import QueueDeclare, QueueDelete

BLOCK_LENGTH = 2_000
WINDOW_LENGTH = 100_000
PREFETCH_COUNT = 10_000
ACK_EVERY = 2_000
SETTLING_S = 3.0
RESTART_TIMEOUT_S = 1800
ANSWER_TIMEOUT_S = 120
BESIDE = QUEUE + "-beside"

Report = Callable[[int], None]


class Steps:
    """Reports the rate of every so many messages."""

    def __init__(self, step: str, length: int) -> None:
        self._step, self._length = step, length
        self._reported = 0
        self._begin = self._since = time.perf_counter()

    def __call__(self, count: int) -> None:
        """Take in how many messages there were so far."""
        if count - self._reported >= self._length:
            now = time.perf_counter()
            say(step=self._step, messages=count, per_s=round((count - self._reported) / (now - self._since)))
            self._reported, self._since = count, now

    def end(self, count: int, **values: Any) -> float:
        """Report the rate of the whole."""
        rate = count / (time.perf_counter() - self._begin)
        say(step=f"{self._step} in all", messages=count, per_s=round(rate), **values)
        return rate


def publish(port: int, count: int, body_size: int, report: Report, queue: str = QUEUE) -> None:
    """Publish ``count`` messages, a whole number of blocks, and wait until all are confirmed."""
    block = Block()
    for _ in range(BLOCK_LENGTH):
        block.add("", queue, bytes(body_size), True)
    publisher = Publisher(Client(port), block, WINDOW_LENGTH, BLOCK_LENGTH)
    publishers = Publishers([publisher])
    while publisher.confirmed < count:
        if not publishers.step(ANSWER_TIMEOUT_S, count - publisher.published):
            raise TimeoutError("the broker confirms nothing")
        report(publisher.confirmed)
    publishers.close()


def beside(port: int, count: int, body_size: int) -> None:
    """Publish to an empty queue, for comparison: disk or memory of the machine may have become slower meanwhile."""
    client = Client(port)
    client.call(CHANNEL, QueueDeclare(queue=BESIDE, durable=True))
    steps = Steps("publish to an empty queue", count)
    publish(port, count, body_size, steps, BESIDE)
    steps.end(count)
    client.call(CHANNEL, QueueDelete(queue=BESIDE))
    client.socket.close()


def consume(port: int, count: int, body_size: int, report: Report) -> None:
    """Consume ``count`` messages, acknowledging every ``ACK_EVERY``."""
    client = Client(port)
    consumer = Consumer(client, QUEUE, delivery_size("", QUEUE, body_size, True), PREFETCH_COUNT, ACK_EVERY)
    consumers = Consumers([consumer])
    consumers.start()
    while consumer.delivered < count:
        if not consumers.step(ANSWER_TIMEOUT_S):
            raise TimeoutError("the broker delivers nothing")
        report(consumer.delivered)
    # What was acknowledged is so for certain when something behind it was answered.
    consumer.acknowledge()
    client.close()


def _nothing(_: int) -> None:
    pass


def live(broker: Haypile, count: int, body_size: int) -> float:
    """Publish and consume at once; return the rate."""
    publisher = multiprocessing.get_context("spawn").Process(
        target=publish, args=(broker.port, count, body_size, _nothing), daemon=True
    )
    publisher.start()
    began: list[tuple[Steps, int]] = []

    def begin(consumed: int) -> None:
        # Not before the publisher's process is there.
        if not began:
            began.append((Steps("live", count), consumed))

    consume(broker.port, count, body_size, begin)
    publisher.join()
    steps, consumed = began[0]
    return steps.end(count - consumed)


def restarted(broker: Haypile, directory: Path, settings: dict[str, str], kill: bool) -> Haypile:
    """Stop the broker, or kill it, and start it again."""
    begin = time.perf_counter()
    if kill:
        broker.kill()
    else:
        broker.stop()
    say(step="kill" if kill else "stop", seconds=round(time.perf_counter() - begin, 2))
    begin = time.perf_counter()
    broker = Haypile(directory, settings, RESTART_TIMEOUT_S)
    seconds = round(time.perf_counter() - begin, 2)
    cpu_s = round(cpu_seconds(broker.pid), 2)
    say(step="restart", seconds=seconds, cpu_s=cpu_s, resident_bytes=resident_bytes(broker.pid))
    return broker


def main() -> None:
    """Measure, and print a JSON line for each step."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backlog")
    parser.add_argument("--count", type=int, default=20_000_000)
    parser.add_argument("--body", type=int, default=100)
    parser.add_argument("--message-memory-bytes", type=int, default=0)
    parser.add_argument("--directory", type=Path, default=None, help="where the data goes, which takes much room")
    restart = parser.add_mutually_exclusive_group()
    restart.add_argument("--no-restart", action="store_true", help="drain what the same broker has paged out")
    restart.add_argument(
        "--kill", action="store_true", help="kill the broker instead of stopping it before the restart"
    )
    arguments = parser.parse_args()
    count = -(-arguments.count // BLOCK_LENGTH) * BLOCK_LENGTH
    length = min(1_000_000, max(1, count // 5))
    directory = Path(tempfile.mkdtemp(prefix="haypile-benchmark-", dir=arguments.directory))
    settings = {"message-memory-bytes": str(arguments.message_memory_bytes)}
    broker = Haypile(directory, settings)
    try:
        Client(broker.port).call(CHANNEL, QueueDeclare(queue=QUEUE, durable=True))
        time.sleep(SETTLING_S)
        idle = resident_bytes(broker.pid)
        steps = Steps("publish", length)
        publish(broker.port, count, arguments.body, steps)
        steps.end(count, cpu_s=round(cpu_seconds(broker.pid), 1))
        beside(broker.port, length, arguments.body)
        time.sleep(SETTLING_S)
        grown = resident_bytes(broker.pid) - idle
        say(step="memory", idle_bytes=idle, grown_bytes=grown, bytes_per_message=round(grown / count, 1))
        if not arguments.no_restart:
            broker = restarted(broker, directory, settings, arguments.kill)
        steps = Steps("drain", length)
        consume(broker.port, count, arguments.body, steps)
        drained = steps.end(count)
        rate = live(broker, min(count, 2_000_000), arguments.body)
        say(step="compare", drain_to_live=round(drained / rate, 2))
    finally:
        broker.stop()
        remove(directory)


if __name__ == "__main__":
    main()
