"""Structured logs on standard error: for people on a terminal, as JSON lines otherwise.

Nothing logs a password, and tracebacks carry no local variables, which might hold one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from typing import Any, TextIO

import structlog

# Peers choose some of what is logged; they are not to draw on the terminal of who reads it.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\t\n"}


def configure(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Set level (debug, info, warning, error) and format (auto, text, json); ``stream`` is standard error if None."""
    stream = sys.stderr if stream is None else stream
    as_text = log_format == "text" or (log_format == "auto" and stream.isatty())
    processors: list[Any] = [
        structlog.processors.add_log_level,
        _Clock().stamp,
        _drop_empty,
    ]
    if as_text:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        processors += [_escape_controls, renderer]
    else:
        processors += [structlog.processors.format_exc_info, _as_json]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _LineLogger(stream),
        cache_logger_on_first_use=True,
    )
    # The storage knows nothing of structured logs.
    storage = logging.getLogger("storage")
    storage.setLevel(level.upper())
    storage.handlers = [_Forwarder()]


def get_logger(area: str) -> Any:
    """Return a logger whose lines carry ``area``."""
    return structlog.get_logger(area=area)


class _Clock:
    """Stamps lines with the time in UTC; what precedes the second's fraction is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._beginning = ""

    def stamp(self, _logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        second, fraction_ns = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._beginning = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        event["timestamp"] = f"{self._beginning}.{fraction_ns // 1000:06d}Z"
        return event


class _Forwarder(logging.Handler):
    """Hands what the standard library's loggers are told to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger("journal").log(record.levelno, record.getMessage())


class _LineLogger:
    """Writes a line at once, and goes on where nobody reads the log any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        # A closed pipe or a full disk behind standard error is no reason to stop serving.
        with contextlib.suppress(OSError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = msg


# structlog's renderer makes an encoder for every line.
_encode = json.JSONEncoder(default=repr).encode


def _as_json(_logger: Any, _method: str, event: dict[str, Any]) -> str:
    return _encode(event)


def _drop_empty(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if value is not None}


def _escape_controls(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    return {key: value.translate(_CONTROLS) if isinstance(value, str) else value for key, value in event.items()}
