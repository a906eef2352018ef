"""What is written to the log, and how."""

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from broker import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def log_to(
    stream: io.TextIOBase, log_format: str = "auto", level: str = "info"
) -> structlog.typing.FilteringBoundLogger:
    logs.configure(level, log_format, stream)  # type: ignore[arg-type]
    logger: structlog.typing.FilteringBoundLogger = logs.get_logger("test")
    return logger


def test_json_lines_where_nobody_looks() -> None:
    stream = io.StringIO()
    log_to(stream).info("connection opened", client="a\nb", user=None)
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"event": "connection opened", "level": "info", "area": "test", "client": "a\nb"}


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        'a "quoted" back\\slash',
        "tab\tnewline\nnull\0delete\x7f",
        "Käse",
        "\udcff",
        "\U0001f430",
        "",
        0,
        -(1 << 70),
        True,
        0.125,
        1e300,
        float("inf"),
        ["a", 1, None],
        {"b": 2.5},
        Path("/tmp"),
        b"octets",
    ],
    ids=repr,
)
def test_a_json_line_is_what_json_makes_of_its_fields(value: object) -> None:
    stream = io.StringIO()
    log_to(stream).warning("happened", what=value, **{'odd "näme"': value})
    line = stream.getvalue().removesuffix("\n")
    assert line == json.dumps(json.loads(line))
    fields = {"area": "test", "what": value, 'odd "näme"': value, "event": "happened", "level": "warning"}
    expected = json.dumps(fields, default=repr).removesuffix("}")
    assert line.startswith(expected + ', "timestamp": "')


def test_fields_stand_in_the_order_of_the_call_and_a_traceback_at_the_end() -> None:
    stream = io.StringIO()
    log_to(stream).error("failed", first=1, exc_info=ValueError("why"), second=2, none=None)
    names = [*json.loads(stream.getvalue())]
    assert names == ["area", "first", "second", "event", "level", "timestamp", "exception"]


def test_a_logger_follows_what_is_configured_before_it_is_used_first() -> None:
    logger = logs.get_logger("early")
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    logger.debug("left out")
    logger.info("one")
    logger.info("two")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["one", "two"]


def test_tests_can_capture_what_is_logged() -> None:
    logger = log_to(io.StringIO())
    logger.info("before")
    with structlog.testing.capture_logs() as entries:
        logger.info("captured", value=1)
    assert entries == [{"area": "test", "event": "captured", "value": 1, "log_level": "info"}]


def test_what_the_storage_logs_is_one_of_the_lines() -> None:
    stream = io.StringIO()
    log_to(stream)
    logging.getLogger("storage.journal").warning("removing %s failed", "segment-1")
    logging.getLogger("storage.journal").debug("left out")
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["area"], entry["level"], entry["event"]) == ("journal", "warning", "removing segment-1 failed")


def test_text_on_a_terminal() -> None:
    stream = Terminal()
    log_to(stream).info("connection opened", client="app")
    assert "connection opened" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_the_format_can_be_chosen() -> None:
    as_json, as_text = Terminal(), io.StringIO()
    log_to(as_json, "json").info("x")
    assert json.loads(as_json.getvalue())["event"] == "x"
    log_to(as_text, "text").info("x")
    assert not as_text.getvalue().startswith("{")


def test_what_is_below_the_level_is_left_out() -> None:
    stream = io.StringIO()
    logger = log_to(stream, level="warning")
    logger.info("quiet")
    logger.warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_peers_cannot_move_the_cursor_or_make_lines(log_format: str) -> None:
    stream = io.StringIO()
    log_to(stream, log_format).info("connection opened", client="\x1b]0;title\x07\x1b[2J\x9b1m\r\nforged")
    assert len(stream.getvalue().splitlines()) == 1
    assert not set("\x1b\x07\x9b\r") & set(stream.getvalue())


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_tracebacks_hold_no_local_variables(log_format: str) -> None:
    stream = io.StringIO()
    logger = log_to(stream, log_format)

    def fail(password: str) -> None:
        raise RuntimeError("the reason")

    try:
        fail("s3" + "cret")
    except RuntimeError:
        logger.exception("internal error")
    assert "the reason" in stream.getvalue()
    assert "s3cret" not in stream.getvalue()


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = io.TextIOWrapper(io.FileIO(writing, "w"), write_through=True)
    logger = log_to(stream, "json")
    logger.info("nobody hears this")
    logger.info("nor that")
    stream.detach().close()


def test_octets_that_are_not_utf8_are_written() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    log_to(stream, "json").info("queue", name=b"\xff".decode("utf-8", "surrogateescape"))
    stream.seek(0)
    assert json.loads(stream.read())["name"] == "\udcff"
