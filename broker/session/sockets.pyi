"""Reading from many sockets in one call of the event loop."""

import asyncio
from collections.abc import Callable
from typing import Any

from broker.turn import EndOfTurn
from protocol.amqp.reader import ReadBuffer

class SocketReader(EndOfTurn):
    """Somebody who reads from a socket: through the event loop at first, and through ``Sockets`` once added there."""

    sockets: Sockets | None
    socket: int
    reading: bool
    watched: bool

    def receive(self, size: int) -> int:
        """Take in ``size`` octets that are in the read buffer."""

    def input_ended(self, orderly: bool) -> int:
        """Take in that nothing more comes; the connection is broken unless that is ``orderly``."""

class Sockets:
    """The sockets that are read from. Only compiled code can add readers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, buffer: ReadBuffer) -> None: ...
    def call_soon(self, callback: Callable[[], Any]) -> None:
        """Call back when everything that has come was read, or else in the next turn of the event loop."""

    def fileno(self) -> int:
        """Return the descriptor that is readable when one of the sockets is."""

    def watch(self, descriptor: int, callback: Callable[[], Any]) -> None:
        """Call back whenever a descriptor is readable, and end the turn then; until the event loop removes it."""

    def close(self) -> None:
        """Read nothing more."""

    def add(self, reader: SocketReader, descriptor: int) -> int:
        """Read for ``reader`` from now on, if it is ``reading``. Raises ``OSError`` where the system refuses that."""

    def remove(self, reader: SocketReader) -> int:
        """Read for ``reader`` no more; its socket may be closed then."""

    def resume(self, reader: SocketReader) -> int:
        """Read on for a ``reader`` that did not want to."""
