"""TLS listeners: with clients that are in common use, and with octets that are as wrong as can be."""

import contextlib
import json
import random
import re
import signal
import socket
import ssl
import struct
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pamqp import commands
from pamqp.commands import Basic, Queue

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.certificates import Certificates
from tests.support.raw_client import PROTOCOL_HEADER, RawClient, frame, method_payload
from tests.support.waiting import until

pytestmark = pytest.mark.haypile_only

SENT_SIZE_MAX_BYTES = 64 * 1024 * 1024
MEMORY_MAX_BYTES = 200 * 1024 * 1024


@pytest.fixture
def broker(start_broker: StartBroker, certificates: Certificates) -> BrokerProcess:
    return start_broker(certificates.settings())


@pytest.fixture
def tls(broker: BrokerProcess, certificates: Certificates) -> Iterator[RawClient]:
    """An open connection over TLS."""
    with broker.connect_tls(certificates.context()) as client:
        yield client.open()


def events(broker: BrokerProcess, name: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in broker.log if line.startswith("{")]
    return [entry for entry in entries if entry["event"] == name]


def cipher_of(client: RawClient) -> str:
    assert isinstance(client.socket, ssl.SSLSocket)
    cipher = client.socket.cipher()
    assert cipher is not None
    return cipher[0]


def wait_for(broker: BrokerProcess, name: str, count: int = 1) -> list[dict[str, Any]]:
    until(lambda: len(events(broker, name)) >= count)
    return events(broker, name)


def metric(broker: BrokerProcess, name: str) -> float:
    host, port = broker.metrics_address
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as answer:
        found = re.search(rf"^{name} (.*)$", answer.read().decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


# Life


def test_pika(broker: BrokerProcess, certificates: Certificates) -> None:
    options = pika.SSLOptions(certificates.context(), "localhost")
    parameters = pika.ConnectionParameters("127.0.0.1", broker.tls_address[1], ssl_options=options)
    body = random.randbytes(3_000_000)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("q", durable=True)
        persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
        for one in (b"", b"small", body):
            channel.basic_publish("", "q", one, persistent, mandatory=True)
        assert [channel.basic_get("q")[2] for _ in range(3)] == [b"", b"small", body]


def test_plain_and_tls_at_once_and_the_log_tells_them_apart(broker: BrokerProcess, tls: RawClient) -> None:
    plain = broker.connect().open()
    queue = plain.channel(1).declare_queue()
    tls.channel(1).publish(b"sealed", routing_key=queue)
    channel = tls.channel(2)
    channel.consume(queue, no_ack=True)
    assert channel.deliver().body == b"sealed"
    first, second = wait_for(broker, "connection opened", 2)
    assert (first["tls"], first["cipher"]) == ("TLSv1.3", cipher_of(tls))
    assert "tls" not in second
    assert "cipher" not in second


def test_metrics_count_connections_and_failures(broker: BrokerProcess, tls: RawClient) -> None:
    tls.channel(1)
    broker.connect().open()
    with socket.create_connection(broker.tls_address) as probe:
        probe.sendall(PROTOCOL_HEADER)
        wait_for(broker, "TLS handshake failed")
    assert metric(broker, "rabbitmq_connections") == 2
    assert metric(broker, "haypile_tls_connections") == 1
    assert metric(broker, "haypile_tls_handshakes_failed_total") == 1


def test_events_tell_of_tls(start_broker: StartBroker, certificates: Certificates) -> None:
    broker = start_broker({**certificates.settings(), "event-exchange": "true"})
    watcher = broker.connect().open()
    channel = watcher.channel(1)
    queue = channel.declare_queue()
    channel.bind(queue, "amq.rabbitmq.event", "connection.created")
    channel.consume(queue, no_ack=True)
    with broker.connect_tls(certificates.context()) as client:
        client.open()
        headers = channel.deliver().properties.headers
        assert headers is not None
        assert (headers["ssl"], headers["ssl_protocol"]) == (True, "tlsv1.3")
        assert headers["ssl_cipher"] == cipher_of(client)


def test_a_client_that_closes_gets_its_answer_and_the_end_of_tls(tls: RawClient) -> None:
    tls.send(commands.Connection.Close(200, "", 0, 0))
    tls.expect(commands.Connection.CloseOk)
    tls.expect_end()


def test_an_error_is_told_before_the_end(tls: RawClient) -> None:
    tls.send_bytes(b"\x09" * 100)
    tls.expect_connection_close(501)


def test_a_shutdown_is_told(broker: BrokerProcess, tls: RawClient) -> None:
    broker.send_signal(signal.SIGTERM)
    tls.expect_connection_close(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
    assert broker.wait() == 0


def test_what_waits_for_a_slow_client_arrives_before_the_end(broker: BrokerProcess, tls: RawClient) -> None:
    channel = tls.channel(1)
    queue = channel.declare_queue()
    body = random.randbytes(8_000_000)
    channel.publish(body, routing_key=queue)
    channel.send(Basic.Get(queue=queue, no_ack=True))
    tls.send(commands.Connection.Close(200, "", 0, 0))
    until(lambda: metric(broker, "rabbitmq_channels") == 0)
    assert channel.receive_message(Basic.GetOk).body == body
    tls.expect(commands.Connection.CloseOk)
    tls.expect_end()


def test_a_client_that_ends_tls_without_closing_the_connection(broker: BrokerProcess, tls: RawClient) -> None:
    assert isinstance(tls.socket, ssl.SSLSocket)
    # Ours, and the answer to it.
    tls.socket.unwrap()
    (closed,) = wait_for(broker, "connection closed")
    assert closed["reason"] == "client closed the socket without connection.close"


def test_a_client_that_just_goes(broker: BrokerProcess, tls: RawClient) -> None:
    tls.socket.close()
    (closed,) = wait_for(broker, "connection closed")
    assert closed["reason"] == "client closed the socket without connection.close"


def test_a_broker_with_tls_only(start_broker: StartBroker, certificates: Certificates) -> None:
    broker = start_broker({**certificates.settings(), "listeners": ""})
    with broker.connect_tls(certificates.context()) as client:
        client.open().close()


# Handshakes


@pytest.mark.parametrize("octets", [PROTOCOL_HEADER, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\xff" * 1000])
def test_who_does_not_speak_tls_is_refused_in_one_line(broker: BrokerProcess, octets: bytes) -> None:
    before = len(broker.log)
    with socket.create_connection(broker.tls_address) as client:
        client.settimeout(10)
        client.sendall(octets)
        with contextlib.suppress(ConnectionResetError):
            while client.recv(4096):
                pass
    (line,) = wait_for(broker, "TLS handshake failed")
    assert line["reason"] in ("wrong version number", "http request")
    assert len(broker.log) == before + 1


def test_who_goes_in_the_middle_of_the_handshake_is_one_line(broker: BrokerProcess) -> None:
    hello = client_hello()
    for part in (b"", hello[:50], hello):
        with socket.create_connection(broker.tls_address) as client:
            client.sendall(part)
    lines = wait_for(broker, "TLS handshake failed", 3)
    assert [line["reason"] for line in lines] == ["the client closed the socket"] * 3
    assert "Traceback" not in broker.log_text


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_a_handshake_that_never_ends_holds_its_place_for_a_while(
    start_broker: StartBroker, certificates: Certificates
) -> None:
    broker = start_broker({**certificates.settings(handshake_timeout_ms="1000"), "connections-max": "1"})
    with socket.create_connection(broker.tls_address) as silent:
        silent.settimeout(10)
        # It is counted: there is no room for another one, with TLS or without.
        with socket.create_connection(broker.tls_address) as second:
            second.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert second.recv(1) == b""
        with broker.connect() as third:
            third.expect_end()
        assert silent.recv(1) == b""
    (line,) = wait_for(broker, "TLS handshake failed")
    assert line["reason"] == "it took too long"
    with broker.connect_tls(certificates.context()) as client:
        client.open().close()


def test_a_shutdown_does_not_wait_for_handshakes(broker: BrokerProcess) -> None:
    with socket.create_connection(broker.tls_address) as silent:
        silent.settimeout(10)
        silent.sendall(client_hello())
        # What the broker answers, so it has taken notice.
        assert silent.recv(1)
        assert broker.terminate() == 0


def test_clients_are_asked_for_certificates(start_broker: StartBroker, certificates: Certificates) -> None:
    broker = start_broker(certificates.settings(verify_clients="required"))
    with broker.connect_tls(certificates.context(certificates.client)) as client:
        client.open().close()
    assert alert(broker, certificates.context()) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert alert(broker, certificates.context(certificates.stranger)) == "TLSV1_ALERT_UNKNOWN_CA"
    reasons = [line["reason"] for line in wait_for(broker, "TLS handshake failed", 2)]
    assert reasons[0] == "peer did not return a certificate"
    assert reasons[1].startswith("the client's certificate is not accepted: ")


def test_clients_may_show_certificates(start_broker: StartBroker, certificates: Certificates) -> None:
    broker = start_broker(certificates.settings(verify_clients="optional"))
    for certificate in (None, certificates.client):
        with broker.connect_tls(certificates.context(certificate)) as client:
            client.open().close()
    assert alert(broker, certificates.context(certificates.stranger)) == "TLSV1_ALERT_UNKNOWN_CA"


def alert(broker: BrokerProcess, context: ssl.SSLContext) -> str:
    """What the client is told when it is refused: with TLS 1.3 that is when it reads for the first time."""
    with pytest.raises(ssl.SSLError) as raised, broker.connect_tls(context) as client:
        client.socket.recv(1)
    return str(raised.value.reason)


def test_old_versions_are_refused(start_broker: StartBroker, certificates: Certificates) -> None:
    older = certificates.context()
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    broker = start_broker(certificates.settings())
    with broker.connect_tls(older) as client:
        client.open().close()
    assert wait_for(broker, "connection opened")[0]["tls"] == "TLSv1.2"
    broker = start_broker(certificates.settings(minimum_version="1.3"))
    assert alert(broker, older) == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert wait_for(broker, "TLS handshake failed")[0]["reason"] == "unsupported protocol"


# Clients that go, and clients that do not read


def test_a_consumer_that_breaks_off_is_nobody_elses_matter(
    broker: BrokerProcess, tls: RawClient, certificates: Certificates
) -> None:
    body = random.randbytes(100_000)
    channel = tls.channel(1)
    queue = channel.declare_queue()
    with broker.connect_tls(certificates.context()) as consumer:
        consumer.open().channel(1).consume(queue)
        # What is closed so answers with a reset, in the middle of what it is sent.
        consumer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for _ in range(200):
            channel.publish(body, routing_key=queue)
        consumer.socket.recv(1)
        consumer.socket.close()
    wait_for(broker, "connection closed")
    until(lambda: channel.counts(queue) == (200, 0))
    assert "Traceback" not in broker.log_text


def test_bodies_that_a_slow_peer_takes_in_pieces_arrive_whole(
    broker: BrokerProcess, tls: RawClient, certificates: Certificates
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    sizes = [chance.choice((10, 1000, 16_383, 16_384, 40_000, 131_064, 131_065, 400_000, 900_000)) for _ in range(60)]
    bodies = [chance.randbytes(size) for size in sizes]
    fast = broker.connect_tls(certificates.context()).open()
    slow_channel, fast_channel = tls.channel(1), fast.channel(1)
    queue = fast_channel.declare_queue()
    slow_channel.consume(queue, no_ack=True)
    for body in bodies:
        fast_channel.publish(body, routing_key=queue)
    # The channel answers, so all publishes were taken in; the slow consumer gets what it can take, and no more.
    ready, _ = fast_channel.counts(queue)
    assert ready > 0
    assert slow_channel.deliver_many(len(bodies)) == bodies


def test_requests_are_not_read_while_their_answers_are_not(broker: BrokerProcess, tls: RawClient) -> None:
    channel = tls.channel(1)
    name = channel.declare_queue()
    request = frame(1, 1, method_payload(Queue.Declare(queue=name, passive=True)))
    block = request * 400
    tls.socket.settimeout(1.0)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < SENT_SIZE_MAX_BYTES:
            tls.socket.sendall(block)
            sent += len(block)
    assert sent < SENT_SIZE_MAX_BYTES
    resident = int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1]) * 4096
    assert resident < MEMORY_MAX_BYTES
    # What was asked is answered, once the answers are read.
    tls.socket.settimeout(20.0)
    for _ in range(sent // len(request)):
        tls.expect(Queue.DeclareOk, 1)


# Files


def test_certificates_are_read_again_on_sighup(
    start_broker: StartBroker, certificates: Certificates, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    certificate.write_bytes(certificates.server.read_bytes())
    key.write_bytes(certificates.key_of(certificates.server).read_bytes())
    settings = certificates.settings() | {"tls-certificate": str(certificate), "tls-key": str(key)}
    broker = start_broker(settings)
    context = certificates.context()
    before = broker.connect_tls(context).open()
    shown = subject(before)
    renewed = certificates.make("renewed", "ca")
    certificate.write_bytes(renewed.read_bytes())
    broker.send_signal(signal.SIGHUP)
    (line,) = wait_for(broker, "certificates not reloaded")
    assert line["reason"].startswith(f"tls.key: the key in {key} is not that of the certificate in {certificate}")
    with broker.connect_tls(context) as client:
        assert subject(client.open()) == shown == "server"
    key.write_bytes(certificates.key_of(renewed).read_bytes())
    broker.send_signal(signal.SIGHUP)
    wait_for(broker, "certificates reloaded")
    with broker.connect_tls(context) as client:
        assert subject(client.open()) == "renewed"
    before.channel(1).declare_queue()


def subject(client: RawClient) -> str:
    assert isinstance(client.socket, ssl.SSLSocket)
    certificate: Any = client.socket.getpeercert()
    return str(certificate["subject"][0][0][1])


def test_a_start_with_wrong_files_says_what_is_wrong(certificates: Certificates, tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "data", certificates.settings(key=str(tmp_path / "none.key")))
    with pytest.raises(AssertionError):
        broker.start()
    assert broker.wait() == 2
    reason = f"tls.key: cannot read the file {tmp_path}/none.key: No such file or directory"
    assert broker.log_text == f"haypile: bad configuration: {reason}\n"
