"""Publishing and consuming over TLS."""

import pickle
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import tls
from benchmarks.consuming import Consumer, Consumers
from benchmarks.publishing import Publishers
from benchmarks.scenarios import over_tls
from benchmarks.tls import TlsPort, make_certificate, sealed
from benchmarks.trial import Effort, Outcome, Trial
from benchmarks.usage import Usage
from benchmarks.workers import GeneratorError, Workers
from protocol.amqp.methods import Method
from tests.unit.benchmarks.test_publishing import ack, publisher

RECORD_SIZE_MAX = 16 * 1024


class SealedLink:
    """A client that says yes over TLS, and the other end of its connection."""

    def __init__(self, directory: Path) -> None:
        made = make_certificate(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.certificate, made.key)
        context.num_tickets = 0
        ours, self.carrier = socket.socketpair()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.broker = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        answering = threading.Thread(target=self._shake_hands)
        answering.start()
        self.socket = sealed(ours)
        answering.join()
        self.buffer = b""

    def _shake_hands(self) -> None:
        while True:
            try:
                self.broker.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.carrier.sendall(self.outgoing.read())
                self.incoming.write(self.carrier.recv(1 << 16))

    def call(self, channel: int, method: Method) -> Method:
        """Take any request."""
        assert channel == 1
        return method

    def seal(self, octets: bytes) -> bytes:
        """What the broker would send."""
        self.broker.write(octets)
        return self.outgoing.read()

    def receive(self, flags: int = socket.MSG_DONTWAIT) -> bytes:
        """What has come, and is whole."""
        self.incoming.write(self.carrier.recv(1 << 20, flags))
        octets = b""
        while True:
            try:
                octets += self.broker.read(RECORD_SIZE_MAX)
            except ssl.SSLWantReadError:
                return octets


@pytest.fixture
def link(tmp_path: Path) -> Iterator[SealedLink]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    link = SealedLink(tmp_path)
    yield link
    link.socket.close()
    link.carrier.close()


def test_a_full_socket_is_no_message_lost(link: SealedLink) -> None:
    publishing = Publishers([one := publisher(link, length=50, window=0)])  # type: ignore[arg-type]
    while publishing.step(0):
        pass
    assert not publishing.settled
    received = b""
    while not publishing.settled:
        received += link.receive()
        publishing.step(0, 0)
    expected = bytes(one._octets) * (one.published // 50)
    while len(received) < len(expected):
        received += link.receive()
    assert received == expected


def test_a_part_of_a_record_with_confirms_waits_for_the_rest(link: SealedLink) -> None:
    publishing = Publishers([one := publisher(link, length=4, window=4)])  # type: ignore[arg-type]
    while one.publish(1000):
        pass
    record = link.seal(ack(4, multiple=True))
    link.carrier.sendall(record[:10])
    assert publishing.step(10)
    assert one.confirmed == 0
    link.carrier.sendall(record[10:])
    while not publishing.settled:
        assert publishing.step(10, 0)


def test_a_record_of_deliveries_is_read_at_once(link: SealedLink) -> None:
    consumers = Consumers([Consumer(link, "q", 64)])  # type: ignore[arg-type]
    consumers.start()
    link.carrier.sendall(link.seal(bytes(RECORD_SIZE_MAX)))
    assert consumers.step(10)
    assert consumers.delivered == RECORD_SIZE_MAX / 64
    assert not consumers.step(0)
    consumers.close(True)


def test_what_takes_several_records_is_sent_whole(link: SealedLink) -> None:
    octets = bytes(range(256)) * 400
    sending = threading.Thread(target=link.socket.sendall, args=(octets,))
    sending.start()
    received = b""
    while len(received) < len(octets):
        received += link.receive(flags=0)
    sending.join()
    assert received == octets


def test_a_port_with_tls_is_one_in_other_processes() -> None:
    assert isinstance(pickle.loads(pickle.dumps(TlsPort(5671))), TlsPort)


def test_a_certificate_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("openssl") is not None:
        with pytest.raises(GeneratorError, match=r"openssl cannot make a certificate: .*No such file"):
            make_certificate(tmp_path / "none")

    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(tls.subprocess, "run", missing)
    with pytest.raises(GeneratorError, match="openssl, which makes the certificate, is not installed"):
        make_certificate(tmp_path)


class TwoPorts:
    """As much of a broker as a trial looks at."""

    port, tls_port = 5672, TlsPort(5671)


def test_what_is_measured_with_tls_is_measured_without_first() -> None:
    ports: list[int] = []

    def measure(trial: Trial) -> Outcome:
        ports.append(trial.port)
        figures = {"requests_s": 60.0, "p50_us": 20.0} if trial.over_tls else {"requests_s": 100.0, "p50_us": 10.0}
        usage = Usage(seconds=1.0, cpu_s=0.5 if trial.over_tls else 0.25, peak_bytes=1)
        return Outcome(figures, usage, figures["requests_s"])

    outcome = over_tls(measure, "requests_s", Trial(TwoPorts(), Workers(), Effort()))  # type: ignore[arg-type]
    assert ports == [5672, 5671]
    assert outcome.figures == {
        "requests_s": 60,
        "p50_us": 20,
        "plain_requests_s": 100,
        "plain_p50_us": 10,
        "plain_done_per_cpu_s": 400,
        "plain_cpu_s": 0.25,
        "of_plain": 0.6,
        "per_cpu_s_of_plain": 0.3,
    }
    assert (outcome.usage.cpu_s, outcome.done) == (0.5, 60)
