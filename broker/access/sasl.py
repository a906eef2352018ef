"""The SASL mechanisms: what a client says to log in, and the credentials in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from protocol.amqp.errors import AMQPError
from protocol.amqp.field_table import decode_table


class Credentials(NamedTuple):
    """A user's name, and the password, which is never shown."""

    username: str
    password: bytes

    def __repr__(self) -> str:
        return f"Credentials({self.username!r})"


class MalformedResponseError(ValueError):
    """A response that is not of the mechanism's form. The text does not repeat it: it may hold a password."""


def plain(response: bytes) -> Credentials:
    """Read a response of PLAIN (RFC 4616): NUL, name, NUL, password. Like RabbitMQ, take no authorization identity."""
    parts = response.split(b"\0")
    if len(parts) != 3 or parts[0]:
        raise MalformedResponseError("response for mechanism PLAIN is malformed")
    return Credentials(parts[1].decode("utf-8", "surrogateescape"), parts[2])


def amqplain(response: bytes) -> Credentials:
    """Read a response of AMQPLAIN: a field table with LOGIN and PASSWORD."""
    try:
        table = decode_table(response)
    except AMQPError:
        raise MalformedResponseError("response for mechanism AMQPLAIN is malformed") from None
    name, password = table.get("LOGIN"), table.get("PASSWORD")
    if not isinstance(name, str) or not isinstance(password, str | bytes):
        raise MalformedResponseError("response for mechanism AMQPLAIN has no LOGIN or no PASSWORD")
    return Credentials(name, password.encode("utf-8", "surrogateescape") if isinstance(password, str) else password)


MECHANISMS: dict[str, Callable[[bytes], Credentials]] = {"PLAIN": plain, "AMQPLAIN": amqplain}
"""The mechanisms that are offered, in the order of preference."""
