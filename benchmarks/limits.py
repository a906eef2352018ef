"""What this machine allows at most: the floor and the ceiling of each scenario, without any broker.

    python -m benchmarks.limits

It measures round trips and bandwidth over loopback, copies of memory, and synced writes, with the same numbers of hops
between processes and the same sizes as the scenarios. Nothing that moves octets between three processes by way of
sockets can be faster than this.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.latencies import percentiles_us

SMALL_SIZE_BYTES = 100
"""About what a small message and the frames around it take."""

CHUNK_SIZE_BYTES = 256 * 1024
COPY_SIZE_BYTES = 64 * 1024 * 1024
RECORD_SIZE_BYTES = 4096
FILE_SIZE_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 30.0


def _receive(peer: socket.socket, size: int) -> bytes:
    data = peer.recv(size)
    while data and len(data) < size:
        data += peer.recv(size - len(data))
    return data


def _connect(port: int) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def _accept(listener: socket.socket) -> socket.socket:
    peer = listener.accept()[0]
    peer.settimeout(TIMEOUT_S)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def _forward(listener: socket.socket) -> None:
    """Do of a broker's work in a remote procedure call what cannot be left out: hand octets from one to the other."""
    responder, requester = _accept(listener), _accept(listener)
    while data := requester.recv(CHUNK_SIZE_BYTES):
        responder.sendall(data)
        requester.sendall(responder.recv(CHUNK_SIZE_BYTES))


def _forward_awake(listener: socket.socket) -> None:
    """Do the same, and look for the next octets instead of sleeping until they come."""
    responder, requester = _accept(listener), _accept(listener)
    for peer in (responder, requester):
        peer.setblocking(False)
    with suppress(ConnectionError):
        while True:
            responder.sendall(_receive_awake(requester))
            requester.sendall(_receive_awake(responder))


def _receive_awake(peer: socket.socket) -> bytes:
    while True:
        with suppress(BlockingIOError):
            data = peer.recv(CHUNK_SIZE_BYTES)
            if not data:
                raise ConnectionResetError
            return data


def _echo(listener: socket.socket) -> None:
    peer = _accept(listener)
    while data := peer.recv(CHUNK_SIZE_BYTES):
        peer.sendall(data)


def _echo_as_client(port: int, ready: Connection) -> None:
    peer = _connect(port)
    ready.send(True)
    while data := peer.recv(CHUNK_SIZE_BYTES):
        peer.sendall(data)


def _swallow(listener: socket.socket) -> None:
    peer = _accept(listener)
    memory = bytearray(CHUNK_SIZE_BYTES)
    while peer.recv_into(memory):
        pass


def _start(target: Callable[..., None], *arguments: object) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def _listen() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(TIMEOUT_S)
    return listener


def _time_each(task: Callable[[], object], seconds: float) -> dict[str, float]:
    """Do one thing again and again, and tell how long it takes."""
    times_ns = []
    end_ns = time.monotonic_ns() + int(seconds * 1e9)
    while (begin_ns := time.monotonic_ns()) < end_ns:
        task()
        times_ns.append(time.monotonic_ns() - begin_ns)
    p50_us, p99_us = percentiles_us(times_ns)
    return {"p50_us": p50_us, "p99_us": p99_us, "per_s": len(times_ns) / seconds}


def _time_round_trips(peer: socket.socket, seconds: float) -> dict[str, float]:
    message = bytes(SMALL_SIZE_BYTES)

    def trip() -> None:
        peer.sendall(message)
        _receive(peer, len(message))

    return _time_each(trip, seconds)


def round_trip(seconds: float) -> dict[str, float]:
    """Measure a request to another process and its answer: what a declare or a confirm takes at least."""
    with _listen() as listener:
        process = _start(_echo, listener)
        with _connect(listener.getsockname()[1]) as peer:
            result = _time_round_trips(peer, seconds)
    process.join(TIMEOUT_S)
    return result


def forwarded_round_trip(seconds: float, forward: Callable[[socket.socket], None] = _forward) -> dict[str, float]:
    """Measure a request and its answer by way of a third process: what a remote procedure call takes at least."""
    with _listen() as listener:
        forwarder = _start(forward, listener)
        port = listener.getsockname()[1]
        here, there = multiprocessing.Pipe()
        # It is there before the requester: what is forked later would keep the requester's socket open.
        responder = _start(_echo_as_client, port, there)
        here.recv()
        with _connect(port) as peer:
            result = _time_round_trips(peer, seconds)
    for process in (forwarder, responder):
        process.join(TIMEOUT_S)
    return result


def _pass_on(listener: socket.socket, port: int) -> None:
    source, target = _accept(listener), _connect(port)
    memory = memoryview(bytearray(CHUNK_SIZE_BYTES))
    while size := source.recv_into(memory):
        target.sendall(memory[:size])


def forwarded_bandwidth(seconds: float) -> dict[str, float]:
    """Measure how many octets go through a third process: what large bodies take at least."""
    with _listen() as listener:
        process = _start(_swallow, listener)
        result = bandwidth(seconds, partial(_pass_on, port=listener.getsockname()[1]))
    process.join(TIMEOUT_S)
    return result


def bandwidth(seconds: float, take: Callable[[socket.socket], None] = _swallow) -> dict[str, float]:
    """Measure how many octets go through a loopback connection: each is copied into the system and out of it."""
    sent = 0
    with _listen() as listener:
        process = _start(take, listener)
        chunk = bytes(CHUNK_SIZE_BYTES)
        with _connect(listener.getsockname()[1]) as peer:
            begin = time.perf_counter()
            while time.perf_counter() < begin + seconds:
                peer.sendall(chunk)
                sent += len(chunk)
            taken = time.perf_counter() - begin
    process.join(TIMEOUT_S)
    return {"bytes_per_s": sent / taken}


def copies(seconds: float) -> dict[str, float]:
    """Measure how fast memory that is not in a cache is copied."""
    source, target = memoryview(bytes(COPY_SIZE_BYTES)), memoryview(bytearray(COPY_SIZE_BYTES))
    target[:] = source
    count = 0
    begin = time.perf_counter()
    while time.perf_counter() < begin + seconds:
        target[:] = source
        count += 1
    return {"bytes_per_s": count * COPY_SIZE_BYTES / (time.perf_counter() - begin)}


def synced_writes(seconds: float, directory: Path) -> dict[str, float]:
    """Measure a small write to a file that is there already, synced: what a confirm takes at least on the disk."""
    path = directory / "limits"
    record = bytes(RECORD_SIZE_BYTES)
    offsets = itertools.cycle(range(0, FILE_SIZE_BYTES, RECORD_SIZE_BYTES))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)

    def write() -> None:
        os.pwrite(descriptor, record, next(offsets))
        os.fdatasync(descriptor)

    try:
        for offset in range(0, FILE_SIZE_BYTES, CHUNK_SIZE_BYTES):
            os.pwrite(descriptor, bytes(CHUNK_SIZE_BYTES), offset)
        os.fsync(descriptor)
        return _time_each(write, seconds)
    finally:
        os.close(descriptor)


def main(arguments: list[str]) -> None:
    """Measure all of it, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement takes (%(default)s)")
    parser.add_argument("--directory", type=Path, help="where files are written (a temporary directory)")
    options = parser.parse_args(arguments)
    measurements: dict[str, Callable[[float], dict[str, float]]] = {
        "round trip": round_trip,
        "round trip by way of a third process": forwarded_round_trip,
        "round trip by way of one that does not sleep": partial(forwarded_round_trip, forward=_forward_awake),
        "loopback": bandwidth,
        "loopback by way of a third process": forwarded_bandwidth,
        "copying memory": copies,
    }
    with TemporaryDirectory(dir=options.directory) as directory:
        measurements["synced write"] = lambda seconds: synced_writes(seconds, Path(directory))
        for name, measure in measurements.items():
            print(
                json.dumps({"what": name} | {key: round(value, 1) for key, value in measure(options.seconds).items()})
            )


if __name__ == "__main__":
    main(sys.argv[1:])
