"""Structured logs on standard error: for people on a terminal, as JSON lines otherwise.

Nothing logs a password, and tracebacks carry no local variables, which might hold one.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

from broker.log_line import Clock, JsonLines

# Peers choose some of what is logged; they are not to draw on the terminal of who reads it.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\t\n"}


def configure(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Set level (debug, info, warning, error) and format (auto, text, json); ``stream`` is standard error if None."""
    stream = sys.stderr if stream is None else stream
    as_text = log_format == "text" or (log_format == "auto" and stream.isatty())
    processors: list[Any] = [JsonLines()]
    if as_text:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        processors = [structlog.processors.add_log_level, _stamper(), _drop_empty, _escape_controls, renderer]
    structlog.configure(
        processors=processors,
        wrapper_class=_logger_class(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _LineWriter(stream),
        cache_logger_on_first_use=True,
    )
    # The storage knows nothing of structured logs.
    storage = logging.getLogger("storage")
    storage.setLevel(level.upper())
    storage.handlers = [_Forwarder()]


def get_logger(area: str) -> Any:
    """Return a logger whose lines carry ``area``."""
    return _LazyLogger(area)


class _LazyLogger:
    """Becomes one of structlog's loggers when it is used first, as what is configured by then wants it.

    structlog's own does so for every line, which takes as long as to make one.
    """

    def __init__(self, area: str) -> None:
        self._area = area

    def __getattr__(self, name: str) -> Any:
        method = getattr(structlog.get_logger(area=self._area).bind(), name)
        if structlog.get_config()["cache_logger_on_first_use"]:
            setattr(self, name, method)
        return method


class _Logger(structlog.BoundLoggerBase):
    """A logger of structlog that hands the fields of a line to the processors at once: its own need three calls."""

    def _log(self, level: str, event: str, fields: dict[str, Any]) -> None:
        line: Any = {**self._context, **fields, "event": event}
        try:
            for process in self._processors:
                line = process(self._logger, level, line)
        except structlog.DropEvent:
            return
        self._logger.msg(line)

    def debug(self, event: str, **fields: Any) -> None:
        self._log("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._log("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._log("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        self.error(event, exc_info=True, **fields)

    def log(self, level: int, event: str, **fields: Any) -> None:
        getattr(self, logging.getLevelName(level).lower())(event, **fields)

    def critical(self, event: str, **fields: Any) -> None:
        self._log("critical", event, fields)


def _logger_class(level: int) -> type[_Logger]:
    """Return a class of loggers to which what is below a level costs nothing."""
    names = ("debug", "info", "warning", "error")
    silent = [name for name in names if logging.getLevelNamesMapping()[name.upper()] < level]
    return type("Logger", (_Logger,), dict.fromkeys(silent, _nothing))


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _stamper() -> Any:
    clock = Clock()

    def stamp(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        event["timestamp"] = clock.now()
        return event

    return stamp


class _Forwarder(logging.Handler):
    """Hands what the standard library's loggers are told to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger("journal").log(record.levelno, record.getMessage())


class _LineWriter:
    """Writes a line at once, and goes on where nobody reads the log any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        # A closed pipe or a full disk behind standard error is no reason to stop serving.
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError:
            pass


def _drop_empty(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if value is not None}


def _escape_controls(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    return {key: value.translate(_CONTROLS) if isinstance(value, str) else value for key, value in event.items()}
