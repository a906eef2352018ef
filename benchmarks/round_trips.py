"""One thing at a time: requests that are answered over direct reply-to, and messages that are confirmed."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.client import CHANNEL, FRAME_MAX_BYTES, READ_SIZE_BYTES, Client
from benchmarks.latencies import percentiles_us
from benchmarks.publishing import ACK_FRAME, TRANSIENT, Confirms, block_of
from benchmarks.span import Span, measured
from benchmarks.topology import Load, Topology
from benchmarks.usage import Usage
from benchmarks.workers import Worker
from protocol.amqp.codec import decode_method, encode_method
from protocol.amqp.methods import BasicConsume, BasicDeliver, BasicPublish, ConfirmSelect
from protocol.amqp.properties import BasicProperties, decode_properties, encode_properties
from protocol.amqp.writer import OutputBuffer

DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
BODY = bytes(16)
ID_LENGTH = 8
POLL_MS = 50
REQUESTS = Load(len(BODY), queue="haypile-benchmark-requests")


def _message(routing_key: str, properties: BasicProperties) -> bytearray:
    output = OutputBuffer()
    header = encode_properties(properties, len(BODY))
    output.content(CHANNEL, encode_method(BasicPublish(routing_key=routing_key)), header, BODY, FRAME_MAX_BYTES)
    return bytearray(output.take())


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(READ_SIZE_BYTES)
    while len(data) < size:
        more = connection.recv(READ_SIZE_BYTES)
        if not more or not data:
            raise ConnectionError("the broker closed the connection")
        data += more
    if len(data) != size:
        raise ConnectionError(f"{len(data)} octets came, not {size}")
    return data


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


def request(pipe: Any, port: int, queue: str, rate: float) -> RoundTrips:
    """Send a request when the last is answered, and not before it is due."""
    client = Client(port)
    client.call(CHANNEL, BasicConsume(queue=DIRECT_REPLY_TO, no_ack=True, consumer_tag="r"))
    client.socket.settimeout(None)
    properties = BasicProperties(delivery_mode=TRANSIENT, correlation_id="0" * ID_LENGTH, reply_to=DIRECT_REPLY_TO)
    message = _message(queue, properties)
    at = message.index(b"0" * ID_LENGTH)
    pipe.send("ready")
    timer = _Timer(pipe.recv(), rate)
    reply_size = number = 0
    while timer.goes_on():
        number += 1
        identity = b"%0*x" % (ID_LENGTH, number)
        message[at : at + ID_LENGTH] = identity
        begin_ns = time.monotonic_ns()
        client.socket.sendall(message)
        if reply_size:
            if identity not in _exactly(client.socket, reply_size):
                raise ConnectionError("the reply has another correlation id")
        else:
            # All replies are of the size of the first.
            reply_size = sum(len(client.frame()[1]) + 8 for _ in ("method", "header", "body"))
        timer.done(begin_ns)
    client.socket.close()
    return timer.result


def respond(pipe: Any, port: int, queue: str) -> None:
    """Answer requests until the pipe says that there are no more. They come from one connection, one at a time."""
    client = Client(port)
    client.call(CHANNEL, BasicConsume(queue=queue, no_ack=True, consumer_tag="q"))
    client.socket.settimeout(None)
    pipe.send("ready")
    waiting = select.poll()
    waiting.register(client.socket, select.POLLIN)
    waiting.register(pipe.fileno(), select.POLLIN)
    reply, to, at, reply_to, request_size, reply_at, id_at = bytearray(), "", 0, b"", 0, 0, 0
    while True:
        ready = [descriptor for descriptor, _ in waiting.poll(POLL_MS)]
        if client.socket.fileno() in ready:
            if request_size:
                data = _exactly(client.socket, request_size)
                if data[reply_at : reply_at + len(reply_to)] != reply_to:
                    raise ConnectionError("the request is to be answered elsewhere than the last")
                reply[at : at + ID_LENGTH] = data[id_at : id_at + ID_LENGTH]
            else:
                # The first request tells where to answer; in the others only delivery tag and correlation id differ.
                method, header, body = (client.frame()[1] for _ in ("method", "header", "body"))
                assert isinstance(decode_method(method), BasicDeliver)
                properties = decode_properties(header)
                to, identity = properties.reply_to or "", (properties.correlation_id or "").encode()
                reply_to, request_size = to.encode(), len(method) + len(header) + len(body) + 24
                header_at = len(method) + 15
                reply_at, id_at = header_at + header.index(reply_to), header_at + header.index(identity)
                properties.reply_to = None
                reply = _message(to, properties)
                at = reply.rindex(identity)
            client.socket.sendall(reply)
        elif pipe.fileno() in ready:
            pipe.recv()
            client.socket.close()
            return


def requests(
    workers: tuple[Worker, Worker],
    port: int,
    pid: int,
    rate: float,
    seconds: float,
    warmup_s: float,
    others: Sequence[Worker] = (),
) -> tuple[RoundTrips, Usage]:
    """Let a pair of connections request and respond, while ``others`` do their task."""
    requester, responder = workers
    queue = REQUESTS.queue
    with Topology(port, REQUESTS):
        responder.start(respond, port, queue)
        responder.receive()
        requester.start(request, port, queue, rate)
        requester.receive()
        usage = measured([requester, *others], pid, seconds, warmup_s)
        trips: RoundTrips = requester.receive()
        responder.send("done")
        responder.receive()
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
