"""Sockets that listen."""

import socket

import pytest

from broker.address import format_address, parse_address
from broker.listener import PortInUseError, bind, bound_address


@pytest.mark.parametrize(("text", "host", "port"), [("127.0.0.1:5672", "127.0.0.1", 5672), ("[::1]:0", "::1", 0)])
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)
    assert format_address(host, port) == text


def test_a_free_port_is_given_out() -> None:
    with bind("127.0.0.1:0") as listener:
        host, port = parse_address(bound_address(listener))
        assert (host, port) == listener.getsockname()
        assert port > 0


def test_clients_are_refused_until_it_listens() -> None:
    with bind("127.0.0.1:0") as listener:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(listener.getsockname())
        listener.listen()
        socket.create_connection(listener.getsockname()).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_taken_port_is_named(host: str) -> None:
    with bind(f"{host}:0") as first:
        first.listen()
        address = bound_address(first)
        with pytest.raises(PortInUseError) as raised:
            bind(address)
    assert str(raised.value) == f"port in use: another process listens on {address}"


def test_all_interfaces_of_both_families_on_one_port() -> None:
    with bind("0.0.0.0:0") as ipv4:
        ipv4.listen()
        with bind(f"[::]:{ipv4.getsockname()[1]}") as ipv6:
            ipv6.listen()
            socket.create_connection(("127.0.0.1", ipv4.getsockname()[1])).close()
            socket.create_connection(("::1", ipv4.getsockname()[1])).close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        bind("192.0.2.1:0")


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(OSError, match=r"cannot listen on host\.invalid:0: "):
        bind("host.invalid:0")
