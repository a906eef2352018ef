"""A line of the log as JSON, and the time in it."""

import time
from json import JSONEncoder
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any

import cython
from structlog.processors import format_exc_info

NS_PER_S = 1_000_000_000

# Whatever has no form in JSON is shown as Python shows it.
_encode = JSONEncoder(default=repr).encode


class Clock:
    """The time in UTC as logs have it; what precedes the second's fraction is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._beginning = ""

    def now(self) -> str:
        """Return the time."""
        now_ns: cython.longlong = time.time_ns()
        second: cython.longlong = now_ns // NS_PER_S
        if second != self._second:
            self._second = second
            self._beginning = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        fraction_us: cython.longlong = now_ns % NS_PER_S // 1000
        return f"{self._beginning}.{fraction_us:06d}Z"


class JsonLines:
    """The processor of structlog that makes a line of what is logged: all there is to do, so that it is done at once.

    A line is what ``json.dumps`` makes of the fields, without those that are None.
    """

    def __init__(self) -> None:
        self._clock = Clock()

    def __call__(self, _logger: Any, level: str, entry: dict[str, Any]) -> str:
        """Return the line."""
        entry["level"] = level
        entry["timestamp"] = self._clock.now()
        if "exc_info" in entry:
            format_exc_info(None, level, entry)
        fields = ", ".join([_field(name, value) for name, value in entry.items() if value is not None])
        return f"{{{fields}}}"


def _field(name: str, value: Any) -> str:
    kind = type(value)
    if kind is str:
        if _stands_for_itself(name) and _stands_for_itself(value):
            return f'"{name}": "{value}"'
        shown = encode_basestring_ascii(value)
    elif kind is int or (kind is float and isfinite(value)):
        shown = repr(value)
    else:
        shown = _encode(value)
    return f"{encode_basestring_ascii(name)}: {shown}"


def _stands_for_itself(text: str) -> bool:
    """Return whether nothing in a string has to be escaped: nearly always, and it takes no time to see."""
    character: cython.Py_UCS4
    for character in text:  # noqa: SIM110 (a generator would not be compiled to a loop over octets)
        if character < " " or character > "~" or character == '"' or character == "\\":
            return False
    return True
