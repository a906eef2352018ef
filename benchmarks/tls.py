"""TLS between load generator and broker: a certificate for the run, and ports where TLS is spoken."""

from __future__ import annotations

import socket
import ssl
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.workers import GeneratorError

DAYS = "2"
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What sockets that do not block, with TLS or without, raise where others wait."""


class TlsPort(int):
    """A port where TLS is spoken: whoever connects to it does so."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a broker shows to its clients: PEM files."""

    certificate: Path
    key: Path


def make_certificate(directory: Path) -> Certificate:
    """Make a certificate that is its own authority. Raises ``GeneratorError`` where that cannot be done."""
    made = Certificate(directory / "broker.pem", directory / "broker.key")
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-days", DAYS, "-subj", "/CN=benchmark", "-out", str(made.certificate), "-keyout", str(made.key)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise GeneratorError("openssl, which makes the certificate, is not installed") from None
    except subprocess.CalledProcessError as error:
        raise GeneratorError(f"openssl cannot make a certificate: {error.stderr.strip()}") from None
    return made


class _SealedSocket(ssl.SSLSocket):
    """A socket whose calls for small messages have nothing between them and OpenSSL: that saves a fifth of the time."""

    def sendall(self, data: Any, flags: int = 0) -> None:
        view = memoryview(data)
        # It may be a record only.
        sent = self.write(view)
        if sent < len(view):
            super().sendall(view[sent:], flags)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:  # noqa: ARG002
        return self.read(buflen)


@cache
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _SealedSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The broker was started by this program, with a certificate made for it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def sealed(connection: socket.socket) -> ssl.SSLSocket:
    """Speak TLS 1.3 on a connection from now on.

    Who polls it must read no less than ``ANSWER_SIZE_BYTES`` at a time: that is a whole record, of which nothing is
    left where polling does not see it.
    """
    return _context().wrap_socket(connection)
