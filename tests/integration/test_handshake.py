"""From the protocol header to connection.open-ok, and every way to fail on it."""

import pytest
from pamqp.commands import Channel, Connection

from tests.conftest import Connect
from tests.support.raw_client import PROTOCOL_HEADER, frame, method_payload, short_string

CAPABILITIES = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "authentication_failure_close",
    "per_consumer_qos",
)
LOGIN_REFUSED = (
    "ACCESS_REFUSED - Login was refused using authentication mechanism {}. For details see the broker logfile."
)


@pytest.mark.parametrize(
    "wrong",
    [b"AMQP\0\0\x09\x02", b"AMQP\0\0\x08\0", b"AMQP\0\1\0\0", b"AMQP\1\1\0\x0a", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 8],
)
def test_a_wrong_protocol_header_is_answered_with_ours_and_the_end(connect: Connect, wrong: bytes) -> None:
    client = connect()
    client.send_bytes(wrong)
    assert client.receive_bytes() == PROTOCOL_HEADER
    client.expect_end()


def test_the_protocol_header_may_come_octet_by_octet(connect: Connect) -> None:
    client = connect()
    for octet in PROTOCOL_HEADER:
        client.send_bytes(bytes([octet]))
    start = client.expect(Connection.Start)
    assert (start.version_major, start.version_minor) == (0, 9)


def test_connection_start_announces_what_clients_look_for(connect: Connect) -> None:
    start = connect().start()
    assert {"PLAIN", "AMQPLAIN"} <= set(start.mechanisms.split(" "))
    assert start.locales == "en_US"
    capabilities = start.server_properties["capabilities"]
    assert {name: capabilities.get(name) for name in CAPABILITIES} == dict.fromkeys(CAPABILITIES, True)
    for name in ("product", "version", "platform", "copyright", "information"):
        assert isinstance(start.server_properties[name], str), name


def test_plain_logs_in(connect: Connect) -> None:
    client = connect().open()
    client.channel(1)
    client.close()


def amqplain_start_ok(user: bytes, password: bytes) -> bytes:
    response = b"".join(
        short_string(name) + b"S" + len(value).to_bytes(4, "big") + value
        for name, value in (("LOGIN", user), ("PASSWORD", password))
    )
    payload = method_payload(Connection.StartOk(mechanism="AMQPLAIN", response="", locale="en_US"))
    before, _, after = payload.rpartition(b"\0\0\0\0")
    return frame(1, 0, before + len(response).to_bytes(4, "big") + response + after)


def test_amqplain_logs_in(connect: Connect) -> None:
    client = connect()
    client.start()
    client.send_bytes(amqplain_start_ok(b"guest", b"guest"))
    client.tune_ok()
    client.send(Connection.Open(virtual_host="/"))
    client.expect(Connection.OpenOk)


@pytest.mark.parametrize(("user", "password"), [("guest", "wrong"), ("guest", ""), ("nobody", "guest"), ("", "")])
def test_a_refused_login_is_told_to_clients_that_understand_it(connect: Connect, user: str, password: str) -> None:
    client = connect()
    client.start()
    client.log_in(user, password, {"authentication_failure_close": True})
    close = client.expect(Connection.Close)
    assert (close.reply_code, close.reply_text) == (403, LOGIN_REFUSED.format("PLAIN"))
    assert (close.class_id, close.method_id) == (0, 0)
    client.send(Connection.CloseOk())
    client.expect_end()


def test_a_refused_login_ends_silently_for_clients_that_do_not(connect: Connect) -> None:
    client = connect()
    client.start()
    client.log_in("guest", "wrong", capabilities={})
    client.expect_end()


@pytest.mark.parametrize(
    ("mechanism", "response"), [("ZORK", ""), ("PLAIN", "guest"), ("PLAIN", "\0guest"), ("PLAIN", "")]
)
def test_a_malformed_login_ends_the_connection(connect: Connect, mechanism: str, response: str) -> None:
    client = connect()
    client.start()
    client.log_in(mechanism=mechanism, response=response)
    client.expect_gone(403, 502, 503)


def test_an_unknown_virtual_host_is_refused(connect: Connect) -> None:
    client = connect()
    client.start()
    client.log_in()
    client.tune_ok()
    client.send(Connection.Open(virtual_host="nowhere"))
    client.expect_connection_close(530, "NOT_ALLOWED - vhost nowhere not found", Connection.Open)


@pytest.mark.parametrize("sent", [b"", b"AMQ", PROTOCOL_HEADER, PROTOCOL_HEADER + b"\1\0\0"])
def test_a_handshake_that_takes_too_long_is_cut(connect: Connect, sent: bytes) -> None:
    client = connect()
    client.send_bytes(sent)
    if len(sent) >= len(PROTOCOL_HEADER):
        client.expect(Connection.Start)
    client.expect_end()


def test_a_login_that_stops_before_open_is_cut(connect: Connect) -> None:
    client = connect()
    client.start()
    client.log_in()
    client.tune_ok()
    client.expect_gone(320, 504)


def test_an_open_connection_outlives_the_handshake_timeout(connect: Connect) -> None:
    idle, witness = connect().open(), connect()
    witness.send_bytes(b"AMQ")
    witness.expect_end()
    idle.channel(1)


def test_a_channel_before_the_login_ends_the_connection(connect: Connect) -> None:
    client = connect()
    client.start()
    client.send(Channel.Open(), 1)
    client.expect_gone(503, 504, 505)


def test_connection_open_before_tune_ok_ends_the_connection(connect: Connect) -> None:
    client = connect()
    client.start()
    client.log_in()
    client.expect(Connection.Tune)
    client.send(Connection.Open(virtual_host="/"))
    client.expect_gone(503, 504)


def test_tune_ok_twice_closes_the_connection(connect: Connect) -> None:
    client = connect()
    client.start()
    client.log_in()
    client.tune_ok()
    client.send(Connection.TuneOk(channel_max=10, frame_max=8192, heartbeat=0))
    client.expect_connection_close(
        504, "CHANNEL_ERROR - unexpected method in connection state opening", Connection.TuneOk
    )


def test_a_channel_before_connection_open_closes_the_connection(connect: Connect) -> None:
    client = connect()
    client.start()
    client.log_in()
    client.tune_ok()
    client.send_bytes(frame(1, 1, b"\0\x14\0\x0a\0"))
    client.expect_connection_close(505, "UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>")
