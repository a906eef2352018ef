"""Messages at a steady rate, and how long each takes from its publisher to its consumer."""

from __future__ import annotations

import select
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from benchmarks.client import CHANNEL, READ_SIZE_BYTES, Client
from benchmarks.consuming import TAG, acknowledgements, delivery_size
from benchmarks.latencies import percentiles_us
from benchmarks.publishing import Confirms, block_of
from benchmarks.span import Span, measured
from benchmarks.topology import Load, Topology
from benchmarks.usage import Usage
from benchmarks.workers import Worker
from protocol.amqp.methods import BasicConsume, BasicQos, ConfirmSelect

STAMP = struct.Struct("<Q")
POLL_MS = 50
LINGER_S = 15.0


def publish(pipe: Any, port: int, load: Load, rate: float) -> tuple[float, int]:
    """Publish at a rate, with the time in each body; return how many in a second of the span, and how many in all."""
    client = Client(port)
    client.call(CHANNEL, ConfirmSelect())
    client.socket.settimeout(None)
    block = block_of("", load.routing_keys(0), load.size_bytes, load.durable)
    message = bytearray(block.octets()[: block.offsets[1]])
    stamp_at = len(message) - 1 - load.size_bytes
    confirms, partial, published = Confirms(), b"", 0
    pipe.send("ready")
    span = Span(*pipe.recv())
    begin = time.monotonic()
    while not span.over(published):
        due = int((time.monotonic() - begin) * rate) + 1
        while published < due and published - confirms.count < load.window:
            STAMP.pack_into(message, stamp_at, time.monotonic_ns())
            client.socket.sendall(message)
            published += 1
        with suppress(BlockingIOError):
            partial = confirms.take(partial + client.socket.recv(READ_SIZE_BYTES, socket.MSG_DONTWAIT))
        time.sleep(max(0.0, begin + published / rate - time.monotonic()))
    client.buffer = partial
    client.socket.settimeout(LINGER_S)
    client.close()
    return span.rates[0], published


def consume(pipe: Any, port: int, load: Load) -> tuple[float, float]:
    """Consume and acknowledge one by one; return the percentiles of what was published in the span."""
    client = Client(port)
    client.call(CHANNEL, BasicQos(prefetch_count=load.prefetch))
    client.call(CHANNEL, BasicConsume(queue=load.queue_name(0), consumer_tag=TAG))
    client.socket.settimeout(None)
    size = delivery_size("", load.routing_keys(0)[0], load.size_bytes, load.durable)
    stamp_at = size - 1 - load.size_bytes
    pipe.send("ready")
    span = Span(*pipe.recv())
    waiting = select.poll()
    waiting.register(client.socket, select.POLLIN)
    buffer, times_ns, delivered = client.buffer, [], 0
    expected, end = None, 0.0
    while expected is None or (delivered < expected and time.monotonic() < end):
        if waiting.poll(POLL_MS):
            data = client.socket.recv(READ_SIZE_BYTES)
            now_ns = time.monotonic_ns()
            if not data:
                raise ConnectionError("the broker closed the connection")
            buffer += data
            whole = len(buffer) // size
            for number in range(whole):
                stamp_ns = STAMP.unpack_from(buffer, number * size + stamp_at)[0]
                if span.counts_since(stamp_ns / 1e9):
                    times_ns.append(now_ns - stamp_ns)
            buffer = buffer[whole * size :]
            if whole:
                client.socket.sendall(acknowledgements(delivered + 1, delivered + whole, 1))
                delivered += whole
        elif expected is None and pipe.poll():
            expected, end = pipe.recv(), time.monotonic() + LINGER_S
    client.socket.close()
    if delivered < expected:
        raise ConnectionError(f"{delivered} of {expected} messages were delivered")
    return percentiles_us(times_ns)


@dataclass(frozen=True, slots=True)
class Steady:
    """How many messages there were in a second, and how long they took from publisher to consumer."""

    per_s: float
    p50_us: float
    p99_us: float
    usage: Usage


def steady(
    workers: tuple[Worker, Worker], port: int, pid: int, load: Load, rate: float, seconds: float, warmup_s: float
) -> Steady:
    """Publish and consume at a rate."""
    publisher, consumer = workers
    with Topology(port, load):
        consumer.start(consume, port, load)
        consumer.receive()
        publisher.start(publish, port, load, rate)
        publisher.receive()
        usage = measured([consumer, publisher], pid, seconds, warmup_s)
        per_s, published = publisher.receive()
        consumer.send(published)
        p50_us, p99_us = consumer.receive()
    return Steady(per_s, p50_us, p99_us, usage)
