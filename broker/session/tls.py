"""TLS between a socket and a connection: octets that are sealed on the one side, and frames on the other.

Why not the event loop's own TLS: it has 256 KiB for each connection, tells nobody of handshakes that fail or are still
under way, drops the alert that says why, and reads up to 8 MiB from one client before others have their turn.
"""

import ssl
from collections.abc import Callable
from typing import Any

import cython

from broker.address import format_endpoint
from broker.logs import get_logger
from protocol.amqp.writer import OutputBuffer

if not cython.compiled:
    from broker.session.transmit import transmit_octets

log = get_logger("tls")

RECORD_HEADER_SIZE = 5
# How much is sealed at once, and goes to the socket: four records, which are still in the processor's cache then.
# OpenSSL never gives back the memory for it.
SEALED_SIZE_BYTES = 64 * 1024
# How often the buffer of sealed octets may be filled by one client before others have their turn.
FULL_READS_MAX = 4

STATE_HANDSHAKE = 0
STATE_OPEN = 1
STATE_CLOSED = 2


class TlsTransport:
    """The protocol of a socket, and the transport of a connection, which is made when the handshake is over.

    OpenSSL works on two buffers in memory: what came from the socket goes into the one, and what belongs there is taken
    from the other. What has been read is unsealed at once into the read buffer that all connections share.
    """

    def __init__(self, broker: Any, new_connection: Callable[[], Any]) -> None:
        self.version = ""
        self.cipher = ""
        self._broker = broker
        self._new_connection = new_connection
        self._connection: Any = None
        self._socket: Any = None
        self._buffer = broker.sealed_buffer
        self._room = broker.read_buffer
        self._descriptor = -1
        self._state = STATE_HANDSHAKE
        self._incoming: Any = ssl.MemoryBIO()
        self._outgoing: Any = ssl.MemoryBIO()
        self._tls: Any = None
        # What is called for every read and every write, looked up once.
        self._take_in: Any = self._incoming.write
        self._take_out: Any = self._outgoing.read
        self._seal: Any = None
        self._open: Any = None
        self._hand_over: Any = None
        self._name = ""
        self._reason = ""
        self._deadline = 0.0
        self._full_reads = 0
        self._record_left = 0
        self._record_size = 0
        self._header_octets = 0
        self._congested = False
        self._paused = False
        self._resting = False
        self._owing = False
        self._reading = True

    # The event loop's side

    def connection_made(self, transport: Any) -> None:
        """Begin the handshake, unless there are too many connections."""
        self._socket = transport
        self._descriptor = transport.get_extra_info("socket").fileno()
        transport.set_write_buffer_limits(high=0)
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self._name = f"{format_endpoint(peer)} -> {format_endpoint(local)}"
        timeout_s = self._broker.configuration.tls.handshake_timeout_ms / 1000
        self._deadline = self._broker.now() + timeout_s
        if not self._broker.admit_handshake(self):
            self._state = STATE_CLOSED
            transport.abort()
            return
        self._tls = self._broker.tls_context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # What is below the methods of the same names, which do nothing but call it: two thirds of what a call costs.
        inner = getattr(self._tls, "_sslobj", self._tls)
        self._seal, self._open = inner.write, inner.read

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the connection, or the log if it has not come to that."""
        self._socket = None
        self._state = STATE_CLOSED
        if self._connection is not None:
            self._connection.connection_lost(error)
            self._connection = self._hand_over = None
            # The connection may be part of a cycle, and stay for a while; OpenSSL's 18 KB need not.
            self._tls = self._seal = self._open = self._take_in = self._take_out = self._incoming = self._outgoing = (
                None
            )
        elif self._broker.dismiss_handshake(self):
            self._broker.counters.tls_handshakes_failed += 1
            log.warning(
                "TLS handshake failed",
                connection=self._name,
                reason=self._reason or "the client closed the socket",
            )

    def eof_received(self) -> bool:
        """Close, as there is nothing more to come."""
        return False

    def get_buffer(self, size_hint: int) -> Any:  # noqa: ARG002
        """Return where the next octets are to be read into: one buffer for all connections."""
        return self._buffer.view

    def buffer_updated(self, size: int) -> None:
        """Take in ``size`` sealed octets."""
        if self._state == STATE_CLOSED:
            return
        self._take_in(self._buffer.piece(size))
        records = self._count_records(size)
        asked: cython.bint = False
        if (self._state == STATE_OPEN or self._shake_hands()) and records:
            asked = self._unseal(records)
        if self._state != STATE_OPEN:
            return
        if asked and self._outgoing.pending:
            # TLS itself has something to say. Who asks for it, and does not read it, is asked nothing more.
            if self._congested:
                self._owing = True
            else:
                self._send_sealed()
        if size < self._buffer.size_bytes:
            self._full_reads = 0
        else:
            self._full_reads += 1
            if self._full_reads >= FULL_READS_MAX:
                self._full_reads = 0
                self._resting = True
                self._broker.loop.call_soon(self._end_rest)
        self._control_reading()

    def pause_writing(self) -> None:
        """The socket did not take everything."""
        self._congested = True
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The socket has taken everything."""
        self._congested = False
        if self._owing:
            self._owing = False
            self._send_sealed()
            self._control_reading()
        if self._connection is not None and not self._congested:
            self._connection.resume_writing()

    def tick(self, now: float) -> None:
        """Give up a handshake that takes too long; called a few times a second. ``now`` is in seconds."""
        if self._state == STATE_HANDSHAKE and now >= self._deadline and self._socket is not None:
            self._fail("it took too long")

    # The connection's side

    def send(self, output: OutputBuffer) -> int:
        """Seal everything in ``output``, and give it to the socket."""
        if self._state != STATE_OPEN:
            output.release()
            return 0
        try:
            while output.size_bytes:
                output.consume(self._seal(output.piece(SEALED_SIZE_BYTES)))
                if not self._transmit(self._take_out()):
                    output.release()
        except ssl.SSLError as error:
            output.release()
            self._break_off(error)
        return 0

    def writelines(self, parts: list[bytes | memoryview]) -> None:
        """Seal these octets, and give them to the socket."""
        if self._state != STATE_OPEN:
            return
        try:
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[self._seal(view) :]
                self._send_sealed()
        except ssl.SSLError as error:
            self._break_off(error)

    def close(self) -> None:
        """Say that nothing more comes, and close the socket when it has taken everything."""
        self._take_leave()
        if self._socket is not None:
            self._socket.close()

    def abort(self) -> None:
        """Close the socket, whatever it has not taken yet."""
        self._take_leave()
        if self._socket is not None:
            self._socket.abort()

    def pause_reading(self) -> None:
        """Read nothing more for now."""
        self._paused = True
        self._control_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._paused = False
        self._control_reading()

    def get_extra_info(self, name: str) -> Any:
        """Return what the socket knows of itself."""
        return None if self._socket is None else self._socket.get_extra_info(name)

    # TLS

    def _shake_hands(self) -> bool:
        """Go on with the handshake. Returns whether it is over, and the connection lives."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send_sealed()
            return False
        except ssl.SSLError as error:
            self._fail(_words(error))
            return False
        self._state = STATE_OPEN
        self._send_sealed()
        self.version = self._tls.version()
        self.cipher = self._tls.cipher()[0]
        self._broker.dismiss_handshake(self)
        self._connection = self._new_connection()
        self._hand_over = self._connection.buffer_updated
        self._connection.connection_made(self)
        if self._congested:
            self._connection.pause_writing()
        return self._state == STATE_OPEN

    def _count_records(self, size: cython.Py_ssize_t) -> int:
        """Return how many records end in the ``size`` octets that were read.

        OpenSSL can be asked for more until there is none, but what it answers then takes longer than a record.
        """
        count: cython.int = 0
        at: cython.Py_ssize_t = 0
        taken: cython.Py_ssize_t
        while at < size:
            if self._record_left == 0:
                # Type, version and version; then the size of what follows, of which nothing need be there yet.
                if self._header_octets >= RECORD_HEADER_SIZE - 2:
                    self._record_size = self._record_size << 8 | self._buffer.memory[at]
                self._header_octets += 1
                at += 1
                if self._header_octets < RECORD_HEADER_SIZE:
                    continue
                self._record_left = self._record_size
                self._record_size = self._header_octets = 0
                if self._record_left == 0:
                    count += 1
            taken = min(self._record_left, size - at)
            if taken:
                at += taken
                self._record_left -= taken
                if self._record_left == 0:
                    count += 1
        return count

    def _unseal(self, records: cython.int) -> bool:
        """Hand what is in the records that have come whole to the connection.

        Returns whether some of them were for TLS itself: then there were less with data.
        """
        room = self._room.view
        capacity: cython.Py_ssize_t = self._room.size_bytes
        count: cython.Py_ssize_t
        size: cython.Py_ssize_t = 0
        asked: cython.bint = False
        ended: cython.bint = False
        try:
            # There is room for all of it: a read takes in less, and nothing but the beginning of a record was left.
            while records and size < capacity:
                records -= 1
                # As much as there is room for.
                count = self._open(0, room[size:] if size else room)
                if count == 0:
                    ended = True
                    break
                size += count
        except ssl.SSLWantReadError:
            asked = True
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            self._break_off(error)
            return False
        if size:
            self._hand_over(size)
        if ended and self._state == STATE_OPEN:
            self._connection.eof_received()
            self.close()
        return asked

    def _transmit(self, sealed: bytes) -> bool:
        """Give the socket what is meant for it; what it does not take at once waits in the event loop.

        Returns whether there is somebody to take it.
        """
        sent: cython.Py_ssize_t
        if self._congested:
            self._socket.write(sealed)
            return True
        sent = transmit_octets(self._descriptor, sealed)
        if sent < 0:
            # The client is gone. The event loop will say so.
            self._state = STATE_CLOSED
            self._socket.abort()
            return False
        if sent < len(sealed):
            self._socket.write(memoryview(sealed)[sent:])
        return True

    def _send_sealed(self) -> int:
        """Give the socket what is meant for it; what it does not take at once waits there."""
        if self._socket is not None and self._outgoing.pending:
            self._socket.write(self._take_out())
        return 0

    def _take_leave(self) -> int:
        """Tell the client that nothing more comes. It need not answer: what it still sends is for nobody."""
        if self._state == STATE_OPEN:
            self._state = STATE_CLOSED
            try:
                self._tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                log.debug("TLS was not closed in order", connection=self._name, reason=_words(error))
            self._send_sealed()
        self._state = STATE_CLOSED
        return 0

    def _fail(self, reason: str) -> int:
        """Give up the handshake. The client gets the alert, if there is one; the log is written in the end."""
        self._reason = reason
        self._state = STATE_CLOSED
        self._send_sealed()
        if self._congested:
            self._socket.abort()
        else:
            self._socket.close()
        return 0

    def _break_off(self, error: ssl.SSLError) -> int:
        """Give up a connection whose octets make no sense any more."""
        log.warning("TLS error", connection=self._name, reason=_words(error))
        self._state = STATE_CLOSED
        self._send_sealed()
        self._socket.abort()
        return 0

    def _end_rest(self) -> None:
        self._resting = False
        self._control_reading()

    def _control_reading(self) -> int:
        wanted = not (self._paused or self._resting or self._owing)
        if wanted != self._reading and self._socket is not None:
            self._reading = wanted
            if wanted:
                self._socket.resume_reading()
            else:
                self._socket.pause_reading()
        return 0


def _words(error: ssl.SSLError) -> str:
    """Return what OpenSSL says, without its place in the source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is not accepted: {error.verify_message}"
    return (error.reason or str(error)).lower().replace("_", " ")
