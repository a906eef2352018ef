"""``GET /metrics`` and ``GET /health``: as much of HTTP/1.1 as two documents need.

Why not a library: see docs/decisions/0003-http-of-two-documents.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from broker.logs import get_logger
from broker.metrics.snapshot import MetricsSource, Snapshot, take_snapshot

log = get_logger("metrics")

REQUEST_SIZE_MAX_BYTES = 8192
REQUEST_TIMEOUT_S = 5.0
RESPONSE_TIMEOUT_S = 30.0
CONNECTIONS_MAX = 16
# What a client still sends after a refusal is read up to here, so that it can read why (a socket closed with unread
# input resets the connection).
UNREAD_SIZE_MAX_BYTES = 1 << 20
UNREAD_TIMEOUT_S = 1.0

TEXT = "text/plain; charset=utf-8"
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class ObservedBroker(MetricsSource, Protocol):
    """What the two documents tell about."""

    def health(self) -> tuple[bool, str]:
        """Return whether the broker serves, and why not."""


class MetricsServer:
    """Answers one request per connection, and closes it."""

    def __init__(self, broker: ObservedBroker) -> None:
        self._broker = broker
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the address that was bound. Raises ``OSError``."""
        self._server = await asyncio.start_server(
            self._serve, host, port, limit=REQUEST_SIZE_MAX_BYTES, reuse_address=True
        )
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    async def stop(self) -> None:
        """Stop listening, and cut who is connected."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= CONNECTIONS_MAX:
            writer.close()
            return
        self._connections.add(task)
        try:
            response = await self._respond(reader)
            async with asyncio.timeout(RESPONSE_TIMEOUT_S):
                writer.write(response)
                await writer.drain()
                writer.write_eof()
            await _discard_unread(reader)
        except (TimeoutError, ConnectionError, asyncio.CancelledError):
            # The client has gone, or does not read what it asked for; or the broker stops, and asyncio's streams
            # would take a task that ends as cancelled for a mistake.
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()

    async def _respond(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(431, b"the request is too large\n")
        except asyncio.IncompleteReadError:
            return _response(400, b"the request ended early\n")
        except TimeoutError:
            return _response(408, b"the request took too long\n")
        return await self._answer(request)

    async def _answer(self, request: bytes) -> bytes:
        words = request.partition(b"\r\n")[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response(400, b"not a request of HTTP/1.1\n")
        method, target = words[0], words[1].partition(b"?")[0]
        if target not in (b"/metrics", b"/health"):
            return _response(404, b"there are /metrics and /health\n")
        if method not in (b"GET", b"HEAD"):
            return _response(405, b"only GET and HEAD are allowed\n", headers="Allow: GET, HEAD\r\n")
        head_only = method == b"HEAD"
        if target == b"/health":
            healthy, reason = self._broker.health()
            return _response(200 if healthy else 503, reason.encode() + b"\n", head_only=head_only)
        snapshot = await take_snapshot(self._broker)
        try:
            content_type, text = await asyncio.to_thread(_render, snapshot)
        except OSError as error:
            log.error("scrape failed", reason=str(error))
            return _response(503, f"{error}\n".encode())
        return _response(200, text, content_type, head_only=head_only)


def _render(snapshot: Snapshot) -> tuple[str, bytes]:
    # Imported at the first scrape, and in the thread: a broker that nobody watches does without.
    from broker.metrics import exporter

    return exporter.CONTENT_TYPE, exporter.render(snapshot)


async def _discard_unread(reader: asyncio.StreamReader) -> None:
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(UNREAD_TIMEOUT_S):
            while size < UNREAD_SIZE_MAX_BYTES and (octets := await reader.read(REQUEST_SIZE_MAX_BYTES)):
                size += len(octets)


def _response(
    status: int, body: bytes, content_type: str = TEXT, headers: str = "", *, head_only: bool = False
) -> bytes:
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n{headers}Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)
