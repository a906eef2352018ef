"""Sockets that listen."""

from __future__ import annotations

import errno
import socket

from broker.address import format_address, parse_address

BACKLOG = 1024


class PortInUseError(Exception):
    """Another process has the port."""

    def __init__(self, address: str) -> None:
        super().__init__(f"port in use: another process listens on {address}")


class FamilyMissingError(Exception):
    """The machine has no addresses of this family, as where IPv6 is switched off."""


def bind(address: str) -> socket.socket:
    """Return a socket that is bound to ``host:port`` and does not listen yet, so that clients are refused for now.

    Raises ``PortInUseError``, ``FamilyMissingError`` and ``OSError``.
    """
    host, port = parse_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener: socket.socket | None = None
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # IPv4 has listeners of its own, wherever the system would join the two.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
    except OSError as error:
        if listener is not None:
            listener.close()
        raise _explain(error, address, family) from error
    listener.setblocking(False)
    return listener


def bound_address(listener: socket.socket) -> str:
    """Return the address that a socket is bound to, with the port that was given out if 0 was asked for."""
    host, port = listener.getsockname()[:2]
    return format_address(host, port)


def _explain(error: OSError, address: str, family: int) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(address)
    # Without IPv6 its loopback address cannot be bound either; that other addresses cannot has other reasons.
    no_loopback = error.errno == errno.EADDRNOTAVAIL and parse_address(address)[0] == "::1"
    if family == socket.AF_INET6 and (no_loopback or error.errno == errno.EAFNOSUPPORT):
        return FamilyMissingError(address)
    return OSError(error.errno, f"cannot listen on {address}: {error.strerror}")
