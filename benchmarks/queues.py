"""Many queues: how fast they are declared, what each costs, and how long anyone else waits meanwhile.

usage: python -m benchmarks.queues [--count 100000] [--bind]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.brokers import Haypile, remove
from benchmarks.client import FRAME_MAX_BYTES, Client
from benchmarks.pipelining import pipelined
from benchmarks.usage import cpu_seconds, resident_bytes
from protocol.amqp.codec import encode_method
from protocol.amqp.methods import (
    BasicPublish,
    BasicQos,
    BasicQosOk,
    ConfirmSelect,
    Method,
    QueueBind,
    QueueDeclare,
    QueueDelete,
)
from protocol.amqp.properties import BasicProperties, encode_properties
from protocol.amqp.writer import OutputBuffer

WINDOW = 1_000
"""So many methods may wait for their answers."""

SETTLING_S = 3.0
PROBE_PAUSE_S = 0.001


def name_of(number: int) -> str:
    """Return the name of a queue."""
    return f"benchmark.queue.{number:07}"


def probe(port: int, done: Any, results: Any) -> None:
    """Ask for something that waits for no disk, again and again, and keep the longest times."""
    client = Client(port)
    longest = []
    while not done.is_set():
        begin = time.perf_counter()
        assert isinstance(client.call(1, BasicQos(prefetch_count=1)), BasicQosOk)
        longest.append(time.perf_counter() - begin)
        if len(longest) > 1000:
            longest = sorted(longest)[-10:]
        time.sleep(PROBE_PAUSE_S)
    results.put(sorted(longest)[-10:])


class Probe:
    """Measures, in a process of its own, how long the event loop keeps others waiting."""

    def __init__(self, port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._done, self._results = context.Event(), context.Queue()
        self._process = context.Process(target=probe, args=(port, self._done, self._results), daemon=True)
        self._process.start()
        time.sleep(1)

    def longest_ms(self) -> list[float]:
        """End it, and return the longest times that anyone had to wait."""
        self._done.set()
        longest = [round(waited * 1000, 1) for waited in self._results.get(timeout=10)]
        self._process.join(10)
        return longest[-3:]


def publish_to_each(client: Client, count: int) -> float:
    """Publish a persistent message to each queue, with confirms; return how long it took."""
    client.call(1, ConfirmSelect())
    header = encode_properties(BasicProperties(delivery_mode=2), 0)
    output = OutputBuffer()
    begin = time.perf_counter()
    for number in range(count):
        output.content(1, encode_method(BasicPublish(routing_key=name_of(number))), header, b"", FRAME_MAX_BYTES)
    client.socket.sendall(output.take())
    confirmed = 0
    while confirmed < count:
        # basic.ack, with the highest tag that is confirmed by it.
        confirmed = max(confirmed, client.receive().delivery_tag)  # type: ignore[attr-defined]
    return time.perf_counter() - begin


def say(**values: Any) -> None:
    """Print what was measured."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, and print a JSON line for each step."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queues")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--bind", action="store_true", help="bind each queue to amq.direct as well")
    arguments = parser.parse_args()
    count = arguments.count
    directory = Path(tempfile.mkdtemp(prefix="haypile-benchmark-"))
    broker = Haypile(directory)
    try:
        client = Client(broker.port)
        prober = Probe(broker.port)
        before = resident_bytes(broker.pid)
        tenth = count // 10
        for step in range(10):
            declarations: list[Method] = [
                QueueDeclare(queue=name_of(number), durable=True) for number in range(step * tenth, (step + 1) * tenth)
            ]
            seconds = pipelined(client, declarations, WINDOW)
            say(step="declare", queues=(step + 1) * tenth, per_s=round(tenth / seconds))
        if arguments.bind:
            bindings: list[Method] = [
                QueueBind(queue=name_of(number), exchange="amq.direct", routing_key=name_of(number))
                for number in range(count)
            ]
            say(step="bind", per_s=round(count / pipelined(client, bindings, WINDOW)))
        time.sleep(SETTLING_S)
        each = (resident_bytes(broker.pid) - before) / count
        say(step="memory", bytes_per_queue=round(each), longest_waits_ms=prober.longest_ms())
        say(step="publish", per_s=round(count / publish_to_each(client, count)))
        broker.stop()
        begin = time.perf_counter()
        broker = Haypile(directory)
        say(step="restart", seconds=round(time.perf_counter() - begin, 2), cpu_s=round(cpu_seconds(broker.pid), 2))
        client = Client(broker.port)
        prober = Probe(broker.port)
        deletions: list[Method] = [QueueDelete(queue=name_of(number)) for number in range(count)]
        seconds = pipelined(client, deletions, WINDOW)
        say(step="delete", per_s=round(count / seconds), longest_waits_ms=prober.longest_ms())
    finally:
        broker.stop()
        remove(directory)


if __name__ == "__main__":
    main()
