"""Field tables and properties with the type of every value kept: what pamqp decodes away is shown here.

A value is written as plain Python where the type does not matter (str, bool, int, float, bytes, None, dict, list), or
as a tuple of RabbitMQ's type letter and the value, ``("u", 5)``, where it does. It is read into the same tuples, and
tables into lists of pairs, because their order is seen as well.
"""

import struct
from collections.abc import Iterator
from typing import Any

INTEGERS = {"b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q", "L": ">q", "T": ">Q"}
FLOATS = {"f": ">f", "d": ">d"}
INT32_MAX = (1 << 31) - 1
PROPERTIES = (
    ("content_type", "shortstr"),
    ("content_encoding", "shortstr"),
    ("headers", "table"),
    ("delivery_mode", "octet"),
    ("priority", "octet"),
    ("correlation_id", "shortstr"),
    ("reply_to", "shortstr"),
    ("expiration", "shortstr"),
    ("message_id", "shortstr"),
    ("timestamp", "timestamp"),
    ("type", "shortstr"),
    ("user_id", "shortstr"),
    ("app_id", "shortstr"),
    ("cluster_id", "shortstr"),
)
"""The basic properties in the order of their flags, the highest bit first."""

Typed = tuple[str, Any]


def with_type(value: Any) -> Typed:
    """Give a plain value its type; one that has a type keeps it."""
    match value:
        case tuple():
            return value
        case None:
            return "V", None
        case bool():
            return "t", value
        case int():
            return ("I" if abs(value) <= INT32_MAX else "l"), value
        case float():
            return "d", value
        case str():
            return "S", value
        case bytes():
            return "x", value
        case dict():
            return "F", value
        case list():
            return "A", value
    raise TypeError(f"no field type for {value!r}")


def encode_value(value: Any) -> bytes:
    """Encode a value with its type letter."""
    letter, plain = with_type(value)
    return letter.encode() + _encode_plain(letter, plain)


def _encode_plain(letter: str, plain: Any) -> bytes:
    if letter in INTEGERS:
        return struct.pack(INTEGERS[letter], plain)
    if letter in FLOATS:
        return struct.pack(FLOATS[letter], plain)
    match letter:
        case "V":
            return b""
        case "t":
            return bytes([plain])
        case "D":
            return struct.pack(">Bi", *plain)
        case "F":
            return encode_table(plain)
        case "A":
            return _long_string(b"".join(map(encode_value, plain)))
    return _long_string(plain if isinstance(plain, bytes) else plain.encode())


def encode_table(entries: dict[str, Any]) -> bytes:
    """Encode a field table with its length."""
    return _long_string(b"".join(_short_string(name) + encode_value(value) for name, value in entries.items()))


def encode_properties(values: dict[str, Any]) -> bytes:
    """Encode basic properties: the flags, and the values that are there."""
    assert values.keys() <= dict(PROPERTIES).keys(), values
    flags, encoded = 0, b""
    for index, (name, kind) in enumerate(PROPERTIES):
        if name not in values:
            continue
        flags |= 1 << 15 - index
        value = values[name]
        match kind:
            case "shortstr":
                encoded += _short_string(value)
            case "table":
                encoded += encode_table(value)
            case "octet":
                encoded += bytes([value])
            case "timestamp":
                encoded += struct.pack(">Q", value)
    return struct.pack(">H", flags) + encoded


class Reader:
    """Reads values off a payload."""

    def __init__(self, payload: bytes) -> None:
        self._rest = payload

    def number(self, layout: str) -> Any:
        """A number of a struct layout."""
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def short_string(self) -> str:
        """A short string."""
        return _text(self._take(self.number(">B")))

    def table(self) -> list[tuple[str, Typed]]:
        """A field table with its length."""
        inner = Reader(self._take(self.number(">I")))
        return list(inner._entries())

    def value(self) -> Typed:
        """A value with its type letter."""
        letter = chr(self.number(">B"))
        if letter in INTEGERS:
            return letter, self.number(INTEGERS[letter])
        if letter in FLOATS:
            return letter, self.number(FLOATS[letter])
        match letter:
            case "V":
                return letter, None
            case "t":
                return letter, bool(self.number(">B"))
            case "D":
                return letter, (self.number(">B"), self.number(">i"))
            case "F":
                return letter, self.table()
            case "A":
                inner = Reader(self._take(self.number(">I")))
                return letter, list(inner._values())
            case "S" | "x":
                return letter, _text(self._take(self.number(">I")))
        raise AssertionError(f"a field of unknown type {letter!r}")

    def properties(self) -> dict[str, Any]:
        """Basic properties."""
        flags = self.number(">H")
        found: dict[str, Any] = {}
        for index, (name, kind) in enumerate(PROPERTIES):
            if flags & 1 << 15 - index:
                match kind:
                    case "shortstr":
                        found[name] = self.short_string()
                    case "table":
                        found[name] = self.table()
                    case "octet":
                        found[name] = self.number(">B")
                    case "timestamp":
                        found[name] = self.number(">Q")
        assert not self._rest, f"more than properties: {self._rest!r}"
        return found

    def _take(self, size: int) -> bytes:
        assert len(self._rest) >= size, f"{size} octets expected, {self._rest!r} left"
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _entries(self) -> Iterator[tuple[str, Typed]]:
        while self._rest:
            yield self.short_string(), self.value()

    def _values(self) -> Iterator[Typed]:
        while self._rest:
            yield self.value()


def show_table(entries: list[tuple[str, Typed]]) -> str:
    """A table as one line of a transcript."""
    return "{" + ", ".join(f"{name}={_show_field(name, value)}" for name, value in entries) + "}"


def _show_field(name: str, value: Typed) -> str:
    return "T:<time>" if name == "time" and value[0] == "T" else show_value(value)


def show_value(value: Typed) -> str:
    """A value with its type letter."""
    letter, plain = value
    match letter:
        case "F":
            return "F" + show_table(plain)
        case "A":
            return "A[" + ", ".join(map(show_value, plain)) + "]"
    return f"{letter}:{plain!r}"


def show_properties(values: dict[str, Any]) -> str:
    """Properties as one line of a transcript."""
    shown = (f"{name}={show_table(value) if name == 'headers' else repr(value)}" for name, value in values.items())
    return " ".join(shown)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _short_string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">B", len(raw)) + raw


def _long_string(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw
