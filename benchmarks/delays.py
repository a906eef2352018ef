"""usage: python -m benchmarks.delays [--count N] [--spread-s S] [--ballast N]: how exactly delayed messages come."""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.brokers import Haypile, remove
from benchmarks.client import FRAME_HEAD, FRAME_MAX_BYTES, READ_SIZE_BYTES, Client
from benchmarks.usage import resident_bytes
from protocol.amqp.codec import encode_method
from protocol.amqp.methods import BasicConsume, BasicPublish, QueueDeclare
from protocol.amqp.properties import BasicProperties, encode_properties
from protocol.amqp.writer import OutputBuffer

QUEUE = "haypile-benchmark-delays"
BODY_FRAME = 3
DUE = struct.Struct(">Q")
BLOCK_LENGTH = 500


def _fill(client: Client, due_ms: list[int]) -> None:
    method = encode_method(BasicPublish(routing_key=QUEUE))
    for start in range(0, len(due_ms), BLOCK_LENGTH):
        output = OutputBuffer()
        for due in due_ms[start : start + BLOCK_LENGTH]:
            properties = BasicProperties(headers={"x-deliver-at": due}, delivery_mode=2)
            output.content(1, method, encode_properties(properties, DUE.size), DUE.pack(due), FRAME_MAX_BYTES)
        client.socket.sendall(output.take())
    # The answer comes when all that was sent before has been taken in.
    client.call(1, QueueDeclare(queue=QUEUE, passive=True))


def _lateness_ms(client: Client, count: int) -> list[float]:
    late: list[float] = []
    buffer = client.buffer
    while len(late) < count:
        data = client.socket.recv(READ_SIZE_BYTES)
        now_ms = time.time() * 1000
        buffer += data
        at = 0
        while len(buffer) - at >= FRAME_HEAD.size:
            kind, _, size = FRAME_HEAD.unpack_from(buffer, at)
            if len(buffer) - at < size + 8:
                break
            if kind == BODY_FRAME:
                late.append(now_ms - DUE.unpack_from(buffer, at + 7)[0])
            at += size + 8
        buffer = buffer[at:]
    return late


def main() -> None:
    """Fill a durable queue with delayed messages, and measure how late each arrives, in milliseconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delays")
    parser.add_argument("--count", type=int, default=100_000, help="messages that are measured")
    parser.add_argument("--spread-s", type=float, default=20.0, help="the time over which they are due")
    parser.add_argument("--ballast", type=int, default=0, help="messages more that are due in a day")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="haypile-benchmark-"))
    broker = Haypile(directory)
    try:
        client = Client(broker.port)
        client.socket.settimeout(300)
        client.call(1, QueueDeclare(queue=QUEUE, durable=True, arguments={"x-delayed": True}))
        before = resident_bytes(broker.pid)
        far = int(time.time() * 1000) + 86_400_000
        _fill(client, [far + number for number in range(arguments.ballast)])
        ballast_bytes = resident_bytes(broker.pid) - before
        lead_ms = 2_000 + arguments.count // 20
        start_ms = int(time.time() * 1000) + lead_ms
        due = [start_ms + random.randrange(int(arguments.spread_s * 1000)) for _ in range(arguments.count)]
        _fill(client, due)
        filled_ms = time.time() * 1000
        client.call(1, BasicConsume(queue=QUEUE, no_ack=True))
        late = sorted(_lateness_ms(client, arguments.count))
        result = {
            "count": arguments.count,
            "ballast": arguments.ballast,
            "filled_in_time": filled_ms < start_ms,
            "min_ms": round(late[0], 1),
            "p50_ms": round(late[len(late) // 2], 1),
            "p99_ms": round(late[len(late) * 99 // 100], 1),
            "p999_ms": round(late[len(late) * 999 // 1000], 1),
            "max_ms": round(late[-1], 1),
            "bytes_per_waiting_message": round(ballast_bytes / arguments.ballast) if arguments.ballast else None,
        }
        sys.stdout.write(json.dumps(result) + "\n")
    finally:
        broker.stop()
        remove(directory)


if __name__ == "__main__":
    main()
