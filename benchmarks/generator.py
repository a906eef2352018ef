"""A load generator that is faster than the brokers: frames are encoded once, and counted instead of decoded.

One process publishes on all connections that publish, and one consumes on all that consume. Both count in the same span
of time, by the clock that all processes of a machine share.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from benchmarks.client import Client
from benchmarks.consuming import Consumer, Consumers, delivery_size
from benchmarks.publishing import Publisher, Publishers, block_of
from benchmarks.span import Span, measured
from benchmarks.topology import Load, Topology
from benchmarks.usage import Usage
from benchmarks.workers import Workers

POLL_S = 0.05
LINGER_S = 15.0
COUNT_TIMEOUT_S = 3600.0


def _publishers(port: int, load: Load) -> Publishers:
    publishers = []
    for number in range(load.publishers):
        block = block_of(load.exchange_name, load.routing_keys(number), load.size_bytes, load.durable)
        publishers.append(Publisher(Client(port), block, load.window))
    return Publishers(publishers)


def _consumers(port: int, load: Load) -> Consumers:
    consumers = []
    for number in range(load.consumers):
        size = delivery_size(load.exchange_name, load.routing_keys(number)[0], load.size_bytes, load.durable)
        consumers.append(Consumer(Client(port), load.queue_name(number), size, load.prefetch, load.ack_every))
    return Consumers(consumers)


def publish(pipe: Any, port: int, load: Load) -> tuple[list[float], int]:
    """Publish during a span; return how many were published and confirmed in a second of it, and published in all."""
    publishers = _publishers(port, load)
    pipe.send("ready")
    span = Span(*pipe.recv())
    while not span.over(publishers.published, publishers.confirmed):
        publishers.step(POLL_S)
    end = time.monotonic() + LINGER_S
    while not publishers.settled and time.monotonic() < end:
        publishers.step(POLL_S, 0)
    publishers.close()
    return span.rates, publishers.published


def consume(pipe: Any, port: int, load: Load) -> list[float]:
    """Consume during a span, and then what is left; return how many were delivered in a second of the span."""
    consumers = _consumers(port, load)
    consumers.start()
    pipe.send("ready")
    span = Span(*pipe.recv())
    while not span.over(consumers.delivered):
        consumers.step(POLL_S)
    while not pipe.poll():
        consumers.step(POLL_S)
    expected, end = pipe.recv(), time.monotonic() + LINGER_S
    while consumers.delivered < expected and time.monotonic() < end:
        consumers.step(POLL_S)
    consumers.close(consumers.delivered >= expected)
    return span.rates


def publish_count(pipe: Any, port: int, load: Load, count: int) -> float:
    """Publish so many messages; return the seconds until the last was sent, and confirmed where that is asked for."""
    publishers = _publishers(port, load)
    pipe.send("ready")
    pipe.recv()
    begin = time.monotonic()
    while publishers.published < count or not publishers.settled:
        publishers.step(POLL_S, count - publishers.published)
    seconds = time.monotonic() - begin
    publishers.close()
    return seconds


def consume_count(pipe: Any, port: int, load: Load, count: int) -> float:
    """Consume so many messages; return the seconds since it was begun."""
    consumers = _consumers(port, load)
    pipe.send("ready")
    pipe.recv()
    begin = time.monotonic()
    consumers.start()
    pipe.send("started")
    while consumers.delivered < count:
        consumers.step(POLL_S)
    seconds = time.monotonic() - begin
    consumers.close(True)
    return seconds


@dataclass(frozen=True, slots=True)
class Rates:
    """Messages in a second, and what the broker used meanwhile."""

    published_s: float
    confirmed_s: float
    delivered_s: float
    usage: Usage


def run(workers: Workers, port: int, pid: int, load: Load, seconds: float, warmup_s: float = 0.0) -> Rates:
    """Publish and consume for ``seconds``, after some time of warming up that is not counted."""
    publisher, consumer = workers[0], workers[1]
    with Topology(port, load):
        consumer.start(consume, port, load)
        consumer.receive()
        publisher.start(publish, port, load)
        publisher.receive()
        usage = measured([consumer, publisher], pid, seconds, warmup_s)
        (published_s, confirmed_s), published = publisher.receive()
        consumer.send(published * load.copies)
        (delivered_s,) = consumer.receive()
    return Rates(published_s, confirmed_s, delivered_s, usage)


def run_count(workers: Workers, port: int, load: Load, count: int) -> None:
    """Publish so many messages, and consume all that they lead to. The topology has to be there."""
    publisher, consumer = workers[0], workers[1]
    consumer.start(consume_count, port, load, count * load.copies)
    publisher.start(publish_count, port, load, count)
    for worker in (consumer, publisher):
        worker.receive()
    consumer.send("go")
    consumer.receive()
    publisher.send("go")
    publisher.receive(COUNT_TIMEOUT_S)
    consumer.receive(COUNT_TIMEOUT_S)


def fill(workers: Workers, port: int, load: Load, count: int) -> float:
    """Publish so many messages that nobody consumes; return the seconds that took."""
    publisher = workers[0]
    publisher.start(publish_count, port, load, count)
    publisher.receive()
    publisher.send("go")
    return float(publisher.receive(COUNT_TIMEOUT_S))


def drain(workers: Workers, port: int, load: Load, count: int) -> float:
    """Consume so many messages that are there; return the seconds that took."""
    consumer = workers[1]
    consumer.start(consume_count, port, load, count)
    consumer.receive()
    consumer.send("go")
    consumer.receive()
    return float(consumer.receive(COUNT_TIMEOUT_S))
