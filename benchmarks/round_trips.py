"""One thing at a time: requests that are answered over direct reply-to, and messages that are confirmed."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.client import ANSWER_SIZE_BYTES, CHANNEL, FRAME_MAX_BYTES, FRAME_OVERHEAD_BYTES, Client
from benchmarks.latencies import percentiles_us
from benchmarks.publishing import ACK_FRAME, TRANSIENT, Confirms, block_of
from benchmarks.span import Span, measured
from benchmarks.topology import Load, Topology
from benchmarks.usage import Usage
from benchmarks.workers import Worker
from protocol.amqp.codec import encode_method
from protocol.amqp.methods import BasicConsume, BasicPublish, ConfirmSelect
from protocol.amqp.properties import BasicProperties, decode_properties, encode_properties
from protocol.amqp.writer import OutputBuffer

DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
BODY = bytes(16)
NO_ID = b"00000000"
REQUESTS = Load(len(BODY), queue="haypile-benchmark-requests")


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """How many there were in a second, and how long they took."""

    per_s: float
    p50_us: float
    p99_us: float


class _Timer:
    """Does one thing after another during a span: at a rate, or at once when the last is done (rate 0)."""

    def __init__(self, span: tuple[float, float], rate: float) -> None:
        self._span, self._rate = Span(*span), rate
        self._begin_s = time.monotonic()
        self._times_ns: list[int] = []
        self._done = 0

    def goes_on(self) -> bool:
        if self._rate:
            time.sleep(max(0.0, self._begin_s + self._done / self._rate - time.monotonic()))
        return not self._span.over(self._done)

    def done(self, begin_ns: int) -> None:
        self._done += 1
        if self._span.counts_since(begin_ns / 1e9):
            self._times_ns.append(time.monotonic_ns() - begin_ns)

    @property
    def result(self) -> RoundTrips:
        return RoundTrips(self._span.rates[0], *percentiles_us(self._times_ns))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(ANSWER_SIZE_BYTES)
    while len(data) < size:
        more = connection.recv(ANSWER_SIZE_BYTES)
        if not more:
            raise ConnectionError("the broker closed the connection")
        data += more
    if len(data) != size:
        raise ConnectionError(f"{len(data)} octets came, not {size}")
    return data


def _message(routing_key: str, identity: bytes, reply_to: str | None) -> bytearray:
    output = OutputBuffer()
    properties = BasicProperties(delivery_mode=TRANSIENT, correlation_id=identity.decode(), reply_to=reply_to)
    header = encode_properties(properties, len(BODY))
    output.content(CHANNEL, encode_method(BasicPublish(routing_key=routing_key)), header, BODY, FRAME_MAX_BYTES)
    return bytearray(output.take())


def _delivery(client: Client) -> tuple[int, bytes]:
    """Return the size of a delivery, frames included, and its content header."""
    method, header, body = (client.frame()[1] for _ in ("method", "header", "body"))
    return len(method) + len(header) + len(body) + 3 * FRAME_OVERHEAD_BYTES, header


class Pair:
    """A connection that requests, and one that responds: one request at a time, each with a correlation id.

    The first request and the first reply are decoded. In those that follow nothing differs but delivery tags and
    correlation ids, so these are read and written where they stand.
    """

    def __init__(self, port: int, queue: str) -> None:
        requester, responder = Client(port), Client(port)
        responder.call(CHANNEL, BasicConsume(queue=queue, no_ack=True))
        requester.call(CHANNEL, BasicConsume(queue=DIRECT_REPLY_TO, no_ack=True))
        self._requester, self._responder = requester.socket, responder.socket
        self._request = _message(queue, NO_ID, DIRECT_REPLY_TO)
        self._requester.sendall(self._request)
        self._request_size, header = _delivery(responder)
        reply_to = decode_properties(header).reply_to
        assert reply_to is not None
        self._reply_to = reply_to.encode()
        self._reply = _message(reply_to, NO_ID, None)
        self._responder.sendall(self._reply)
        self._reply_size, _ = _delivery(requester)
        self._requested_at, self._replied_at = self._request.index(NO_ID), self._reply.rindex(NO_ID)
        # Behind the header are only its frame's end, and the body's frame.
        header_at = self._request_size - len(BODY) - 2 * FRAME_OVERHEAD_BYTES + 7 - len(header)
        self._identity_at = header_at + header.index(NO_ID)
        self._reply_to_at = header_at + header.index(self._reply_to)
        for connection in (self._requester, self._responder):
            connection.settimeout(None)

    def trip(self, number: int) -> None:
        """Send a request, reply to it, and take the reply."""
        identity = b"%08x" % number
        at = self._requested_at
        self._request[at : at + len(identity)] = identity
        self._requester.sendall(self._request)
        request = _exactly(self._responder, self._request_size)
        if not request.startswith(self._reply_to, self._reply_to_at):
            raise ConnectionError("a request is to be answered elsewhere than the first")
        at = self._replied_at
        self._reply[at : at + len(identity)] = request[self._identity_at : self._identity_at + len(identity)]
        self._responder.sendall(self._reply)
        if identity not in _exactly(self._requester, self._reply_size):
            raise ConnectionError("the reply has another correlation id")

    def close(self) -> None:
        """End both connections."""
        self._requester.close()
        self._responder.close()


def request(pipe: Any, port: int, queue: str, rate: float) -> RoundTrips:
    """Send a request when the last is answered, and not before it is due."""
    pair = Pair(port, queue)
    pipe.send("ready")
    timer = _Timer(pipe.recv(), rate)
    number = 0
    while timer.goes_on():
        number += 1
        begin_ns = time.monotonic_ns()
        pair.trip(number)
        timer.done(begin_ns)
    pair.close()
    return timer.result


def request_count(_pipe: Any, port: int, queue: str, count: int) -> None:
    """Send so many requests, each when the last is answered."""
    pair = Pair(port, queue)
    for number in range(count):
        pair.trip(number)
    pair.close()


def requests(
    worker: Worker,
    port: int,
    pid: int,
    rate: float,
    seconds: float,
    warmup_s: float,
    others: Sequence[Worker] = (),
) -> tuple[RoundTrips, Usage]:
    """Let a pair of connections request and respond, while ``others`` do their task."""
    with Topology(port, REQUESTS):
        worker.start(request, port, REQUESTS.queue, rate)
        worker.receive()
        usage = measured([worker, *others], pid, seconds, warmup_s)
        trips: RoundTrips = worker.receive()
    return trips, usage


def confirm(pipe: Any, port: int, load: Load) -> RoundTrips:
    """Publish a message when the last is confirmed."""
    client = Client(port)
    client.call(CHANNEL, ConfirmSelect())
    client.socket.settimeout(None)
    block = block_of("", load.routing_keys(0), load.size_bytes, load.durable)
    message = block.octets()[: block.offsets[1]]
    confirms = Confirms()
    pipe.send("ready")
    timer = _Timer(pipe.recv(), 0)
    published = 0
    while timer.goes_on():
        published += 1
        begin_ns = time.monotonic_ns()
        client.socket.sendall(message)
        confirms.take(_exactly(client.socket, ACK_FRAME.size))
        if confirms.count != published:
            raise ConnectionError(f"{confirms.count} messages are confirmed, not {published}")
        timer.done(begin_ns)
    client.close()
    return timer.result
