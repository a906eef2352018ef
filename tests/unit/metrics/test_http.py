"""The HTTP end point, over real sockets."""

import asyncio

import pytest

from broker.metrics import http
from tests.unit.metrics.conftest import Observed


async def ask(address: tuple[str, int], request: bytes, *, end: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Send what may be a request and return status, headers and body of the answer."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        if end:
            writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split(" ")[1]), headers, body


def get(target: str, method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def answer_to(observed: Observed, request: bytes, *, end: bool = False) -> tuple[int, dict[str, str], bytes]:
    async with observed.serve() as address:
        return await ask(address, request, end=end)


def test_ready(observed: Observed) -> None:
    status, headers, body = asyncio.run(answer_to(observed, get("/health")))
    assert (status, body) == (200, b"ready\n")
    assert headers["Connection"] == "close"
    assert headers["Content-Length"] == "6"


def test_why_not_ready(observed: Observed) -> None:
    observed.reason = "journal of vhost '/' failed"
    assert asyncio.run(answer_to(observed, get("/health")))[::2] == (503, b"journal of vhost '/' failed\n")


def test_metrics(observed: Observed) -> None:
    status, headers, body = asyncio.run(answer_to(observed, get("/metrics?x=1")))
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert int(headers["Content-Length"]) == len(body)
    assert b"\nrabbitmq_connections 0.0\n" in body


def test_head_answers_without_a_body(observed: Observed) -> None:
    status, headers, body = asyncio.run(answer_to(observed, get("/metrics", "HEAD")))
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 1000


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (get("/"), 404),
        (get("/metrics/"), 404),
        (get("http://localhost/metrics"), 404),
        (get("/metrics", "POST"), 405),
        (get("/health", "DELETE"), 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xff\r\n\r\n", 400),
        (b"AMQP\x00\x00\x09\x01\r\n\r\n", 400),
    ],
)
def test_other_requests_are_refused(observed: Observed, request_: bytes, expected: int) -> None:
    assert asyncio.run(answer_to(observed, request_))[0] == expected


def test_a_request_that_ends_early_is_refused(observed: Observed) -> None:
    assert asyncio.run(answer_to(observed, b"GET /metrics HTTP/1.1\r\n", end=True))[0] == 400


@pytest.mark.parametrize("size", [http.REQUEST_SIZE_MAX_BYTES + 100, 10 * http.REQUEST_SIZE_MAX_BYTES])
def test_a_request_that_is_too_large_is_refused(observed: Observed, size: int) -> None:
    assert asyncio.run(answer_to(observed, get("/" + "x" * size)))[0] == 431
    assert asyncio.run(answer_to(observed, b"X" * size))[0] == 431


def test_a_refusal_is_read_by_who_still_sends(observed: Observed) -> None:
    request = b"POST /metrics HTTP/1.1\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000
    assert asyncio.run(answer_to(observed, request))[0] == 405


def test_a_request_that_takes_too_long_is_ended(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_TIMEOUT_S", 0.05)
    assert asyncio.run(answer_to(observed, b"GET /metrics HTTP/1.1\r\n"))[0] == 408


def test_too_many_at_once_are_cut_and_others_are_served_again(observed: Observed) -> None:
    async def run() -> None:
        async with observed.serve() as address:
            idle = [await asyncio.open_connection(*address) for _ in range(http.CONNECTIONS_MAX)]
            reader, writer = await asyncio.open_connection(*address)
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
            _, first = idle.pop()
            first.close()
            await first.wait_closed()
            while not (await try_health(address)):
                pass
            for _, other in idle:
                other.close()

    asyncio.run(run())


async def try_health(address: tuple[str, int]) -> bool:
    try:
        return (await ask(address, get("/health")))[0] == 200
    except (IndexError, ConnectionError):
        return False


def test_the_end_cuts_who_is_connected(observed: Observed) -> None:
    async def run() -> None:
        async with observed.serve() as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET ")
            await ask(address, get("/health"))
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()

    asyncio.run(run())
