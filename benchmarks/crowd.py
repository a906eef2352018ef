"""Many queues and idle connections, which are only there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.client import Client
from benchmarks.connections import HEARTBEAT_S
from benchmarks.pipelining import pipelined
from benchmarks.workers import Worker
from protocol.amqp.methods import QueueDeclare, QueueDelete

WINDOW = 100
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
HEARTBEAT_PAUSE_S = HEARTBEAT_S / 3
TIMEOUT_S = 600.0


def queue_name(number: int) -> str:
    """Return the name of one of many queues."""
    return f"haypile-benchmark-many-{number}"


def declare(pipe: Any, port: int, count: int) -> tuple[float, float]:
    """Declare so many durable queues, keep them until told, and delete them, pipelined.

    Returns how many were declared and deleted in a second.
    """
    client = Client(port)
    client.socket.settimeout(TIMEOUT_S)
    pipe.send("ready")
    pipe.recv()
    declarations = [QueueDeclare(queue=queue_name(number), durable=True) for number in range(count)]
    declared_s = count / pipelined(client, declarations, WINDOW)
    pipe.send("declared")
    pipe.recv()
    deleted_s = count / pipelined(client, [QueueDelete(queue=queue_name(number)) for number in range(count)], WINDOW)
    client.close()
    return declared_s, deleted_s


def idle(pipe: Any, port: int, count: int) -> None:
    """Open so many connections with a channel, and do nothing on them but heartbeats, until told."""
    clients = [Client(port, HEARTBEAT_S) for _ in range(count)]
    pipe.send("ready")
    while not pipe.poll(HEARTBEAT_PAUSE_S):
        for client in clients:
            client.socket.sendall(HEARTBEAT)
    pipe.recv()
    for client in clients:
        client.close()


@contextmanager
def crowded(workers: tuple[Worker, Worker], port: int, queues: int, connections: int) -> Iterator[None]:
    """Have so many other queues and connections meanwhile."""
    declarer, idler = workers
    declarer.start(declare, port, queues)
    declarer.receive()
    declarer.send("go")
    declarer.receive(TIMEOUT_S)
    idler.start(idle, port, connections)
    idler.receive(TIMEOUT_S)
    yield
    idler.send("done")
    idler.receive(TIMEOUT_S)
    declarer.send("done")
    declarer.receive(TIMEOUT_S)
