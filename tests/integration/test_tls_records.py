"""TLS as it goes over the wire: records that come in pieces, and messages that are for TLS itself."""

import contextlib
import itertools
import os
import random
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pamqp import commands
from pamqp.commands import Basic, Queue

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.certificates import Certificates
from tests.support.raw_client import PROTOCOL_HEADER, content, frame, method_payload
from tests.support.waiting import until

pytestmark = pytest.mark.haypile_only

RECORD_HEADER_SIZE = 5
RECORD_SIZE_MAX = 16 * 1024
APPLICATION_DATA = 23


@pytest.fixture
def broker(start_broker: StartBroker, certificates: Certificates) -> BrokerProcess:
    return start_broker(certificates.settings())


def logged(broker: BrokerProcess, text: str) -> Callable[[], bool]:
    return lambda: any(text in line for line in broker.log)


def holding(octets: bytes) -> Callable[[bytes], bool]:
    return lambda plain: octets in plain


def unread(connection: socket.socket) -> int:
    """How many octets the system still keeps for the broker."""
    port = connection.getsockname()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].rpartition(":")[2], 16) == port:
            return int(fields[4].rpartition(":")[2], 16)
    return 0


class Sealed:
    """A client that sees the records of TLS as they come."""

    def __init__(self, broker: BrokerProcess, certificates: Certificates) -> None:
        self.socket = socket.create_connection(broker.tls_address, 10)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = certificates.context()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.sealed = b""
        self.plain = b""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.socket.sendall(self.outgoing.read())
                self._receive()
        self.socket.sendall(self.outgoing.read())

    def __enter__(self) -> "Sealed":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def write(self, octets: bytes) -> None:
        self.tls.write(octets)
        self.socket.sendall(self.outgoing.read())

    def read_until(self, condition: Callable[[bytes], bool]) -> bytes:
        """Read until the octets that have come satisfy the condition, and return them."""
        while not condition(self.plain):
            try:
                self.plain += self.tls.read(RECORD_SIZE_MAX)
            except ssl.SSLWantReadError:
                self._receive()
        plain, self.plain = self.plain, b""
        return plain

    def record_sizes(self) -> list[int]:
        """The sizes of the records with data that have come since the last call."""
        sizes, at = [], 0
        while at < len(self.sealed):
            kind, _, size = struct.unpack_from(">BHH", self.sealed, at)
            at += RECORD_HEADER_SIZE + size
            sizes += [size] * (kind == APPLICATION_DATA)
        self.sealed = self.sealed[at:]
        return sizes

    def _receive(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            raise EOFError
        self.sealed += data
        self.incoming.write(data)


def open_frames(client: Sealed, octet_by_octet: bool = False) -> None:
    """The handshake of AMQP, channel 1, and an exclusive queue "q"."""

    def send(octets: bytes, answer: type[Any]) -> None:
        for at in range(0, len(octets), 1 if octet_by_octet else len(octets)):
            client.write(octets[at : at + 1] if octet_by_octet else octets)
        client.read_until(lambda plain: struct.pack(">I", answer.index) in plain)

    def call(method: Any, channel: int = 0) -> bytes:
        return frame(1, channel, method_payload(method))

    send(PROTOCOL_HEADER, commands.Connection.Start)
    properties: Any = {"product": "raw"}
    start_ok = commands.Connection.StartOk(
        client_properties=properties, mechanism="PLAIN", response="\0guest\0guest", locale="en_US"
    )
    send(call(start_ok), commands.Connection.Tune)
    tune_ok = call(commands.Connection.TuneOk(channel_max=10, frame_max=131072, heartbeat=0))
    send(tune_ok + call(commands.Connection.Open()), commands.Connection.OpenOk)
    send(call(commands.Channel.Open(), 1), commands.Channel.OpenOk)
    send(call(Queue.Declare(queue="q", exclusive=True), 1), Queue.DeclareOk)
    send(call(Basic.Consume(queue="q", no_ack=True), 1), Basic.ConsumeOk)


def published(body: bytes) -> bytes:
    return frame(1, 1, method_payload(Basic.Publish(routing_key="q"))) + content(1, body)


def test_octets_that_come_one_to_a_record(broker: BrokerProcess, certificates: Certificates) -> None:
    with Sealed(broker, certificates) as client:
        open_frames(client, octet_by_octet=True)
        for octet in published(b"in pieces"):
            client.write(bytes([octet]))
        client.read_until(lambda plain: b"in pieces\xce" in plain)


def test_many_small_messages_share_records(broker: BrokerProcess, certificates: Certificates) -> None:
    count = 1000
    with Sealed(broker, certificates) as client:
        open_frames(client)
        client.record_sizes()
        client.write(b"".join(published(b"number %04d" % number) for number in range(count)))
        received = client.read_until(lambda plain: b"number %04d\xce" % (count - 1) in plain)
        assert [int(number) for number in re.findall(rb"number (\d{4})\xce", received)] == list(range(count))
        # One for each frame would be 3,000.
        assert len(client.record_sizes()) < 20


def test_large_bodies_fill_their_records(broker: BrokerProcess, certificates: Certificates) -> None:
    body = random.randbytes(1_000_000)
    with Sealed(broker, certificates) as client:
        open_frames(client)
        client.record_sizes()
        client.write(published(body))
        size = len(body) + 8 * -(-len(body) // (131072 - 8))
        received = client.read_until(lambda plain: len(plain) > size)
        assert body[-1000:] + b"\xce" == received[-1001:]
        sizes = client.record_sizes()
        full = [size for size in sizes if size >= RECORD_SIZE_MAX]
        assert len(full) >= len(body) // RECORD_SIZE_MAX
        assert len(sizes) <= len(full) + 1


class TypedClient:
    """OpenSSL's own client, which does what is typed: it shows every message of TLS."""

    def __init__(self, broker: BrokerProcess, certificates: Certificates, version: str) -> None:
        openssl = shutil.which("openssl")
        assert openssl is not None
        host, port = broker.tls_address
        command = [openssl, "s_client", "-connect", f"{host}:{port}", "-CAfile", str(certificates.ca), version, "-msg"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        self._output: list[bytes] = []
        pieces = iter(partial(os.read, self._process.stdout.fileno(), 4096), b"")
        self._reader = threading.Thread(target=self._output.extend, args=(pieces,))
        self._reader.start()

    def __enter__(self) -> "TypedClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._reader.join()
        with self._process:
            pass

    def has_shown(self, pattern: bytes) -> bool:
        return re.search(pattern, b"".join(self._output)) is not None

    def typed(self, text: bytes, expected: bytes) -> bool:
        """Type something, and tell whether what is expected is shown soon."""
        self._stdin.write(text)
        self._stdin.flush()
        with contextlib.suppress(AssertionError):
            until(lambda: self.has_shown(expected), timeout_s=1)
        return self.has_shown(expected)


def test_a_key_update_is_answered(broker: BrokerProcess, certificates: Certificates) -> None:
    with TypedClient(broker, certificates, "-tls1_3") as client:
        until(lambda: client.has_shown(b"Verify return code"))
        # A command that is typed while the client is busy with the handshake is not heeded.
        until(lambda: client.typed(b"K\n", b"KEYUPDATE"))
        assert client.typed(PROTOCOL_HEADER, b"cluster_name")
        # OpenSSL answers with what it sends next.
        assert client.has_shown(rb"<<< [^\n]*KeyUpdate")
    until(logged(broker, "connection closed"))
    assert "TLS error" not in broker.log_text


def test_who_wants_to_negotiate_again_is_told_that_nobody_does(
    broker: BrokerProcess, certificates: Certificates
) -> None:
    with TypedClient(broker, certificates, "-tls1_2") as client:
        until(lambda: client.has_shown(b"Verify return code"))
        until(lambda: client.typed(b"R\n", b"RENEGOTIATING"))
        # The broker says nothing else on a connection that has not said what it speaks.
        until(lambda: client.has_shown(rb"<<< [^\n]*Alert[^\n]*no_renegotiation"))


def test_records_that_come_in_pieces(broker: BrokerProcess, certificates: Certificates) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    with Sealed(broker, certificates) as client:
        open_frames(client)
        for size in (1, 16, 300, 511, 512, 513, 20_000, 70_000):
            body = chance.randbytes(size)
            client.tls.write(published(body))
            sealed = client.outgoing.read()
            # In the middle of the first header, and at its end, and anywhere.
            ends = sorted({2, RECORD_HEADER_SIZE, *chance.sample(range(len(sealed)), 5), len(sealed)})
            for begin, end in itertools.pairwise([0, *ends]):
                client.socket.sendall(sealed[begin:end])
                until(lambda: unread(client.socket) == 0)
            client.read_until(holding(body + b"\xce"))


def test_octets_that_make_no_sense_after_the_handshake(broker: BrokerProcess, certificates: Certificates) -> None:
    with Sealed(broker, certificates) as client:
        client.write(PROTOCOL_HEADER)
        client.read_until(lambda plain: len(plain) > 100)
        client.socket.sendall(struct.pack(">BHH", APPLICATION_DATA, 0x0303, 100) + bytes(100))
        with pytest.raises((ssl.SSLError, EOFError, ConnectionResetError)):
            client.read_until(lambda _: False)
        until(logged(broker, "TLS error"))
        assert "decryption failed or bad record mac" in broker.log_text
    until(logged(broker, "connection closed"))
    assert "Traceback" not in broker.log_text
