"""How octets come in: what comes first through the event loop, the rest straight from the socket."""

from typing import Any

import cython

from broker.session.reading import PausingReader
from broker.session.sockets import Sockets


class Receiver(PausingReader):
    """The receiving side of a connection, as far as it is about where octets come from.

    To the event loop it is an ``asyncio.BufferedProtocol``; so it is to a connection's TLS, which goes on with that.
    """

    def __init__(self, broker: Any, frame_max: int) -> None:
        super().__init__(broker.turn, broker.counters, frame_max)
        self.broker = broker
        self._read_buffer = broker.read_buffer

    def eof_received(self) -> bool:
        """Close, as there is nothing more to come."""
        return False

    def get_buffer(self, size_hint: int) -> Any:  # noqa: ARG002
        """Return where the next octets are to be read into: one buffer for all connections."""
        return self._read_buffer.view

    def buffer_updated(self, size: int) -> None:
        """Take in ``size`` octets that were read by the event loop, or came through TLS."""
        self.receive(size)
        if self.descriptor >= 0 and self.transport is not None:
            self._read_directly()

    def _read_directly(self) -> int:
        """Have the event loop read no more; it begins only when ``connection_made`` is over."""
        self.reading = not (self._suspended or self._resting)
        sockets: Sockets = self.broker.sockets
        sockets.add(self, self.descriptor)
        self.transport.pause_reading()
        return 0

    def input_ended(self, orderly: cython.bint) -> int:
        """Close, as there is nothing more to come.

        What is left to be sent is sent, but nobody waits for a peer that does not read.
        """
        if self.transport is not None:
            if orderly and not self.congested:
                self.transport.close()
            else:
                self.transport.abort()
        return 0
