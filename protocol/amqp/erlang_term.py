"""Values as RabbitMQ prints them into reply texts, which clients and their users compare."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

ESCAPES = str.maketrans(
    {
        "\b": "\\b",
        "\t": "\\t",
        "\n": "\\n",
        "\v": "\\v",
        "\f": "\\f",
        "\r": "\\r",
        "\x1b": "\\e",
        '"': '\\"',
        "\\": "\\\\",
    }
)
# What ``~tp`` takes for text, in an Erlang that prints all of Unicode; RabbitMQ starts it so.
PRINTABLE = re.compile("[\b-\r\x1b -~\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
# Above it not every integer is a float, and ``~p`` always writes an exponent.
PLAIN_FLOAT_MAX = 1 << 53


def format_type(value: Any) -> str:
    """Return RabbitMQ's name for the type of a field value."""
    from protocol.amqp import field_table

    names: dict[type, str] = {
        bool: "bool",
        field_table.SignedOctet: "byte",
        field_table.Octet: "unsignedbyte",
        field_table.Short: "short",
        field_table.UnsignedShort: "unsignedshort",
        field_table.UnsignedLong: "unsignedint",
        field_table.TaggedInt: "long",
        field_table.Timestamp: "timestamp",
        field_table.Float: "float",
        float: "double",
        Decimal: "decimal",
        str: "longstr",
        field_table.ByteString: "longstr",
        bytes: "binary",
        Mapping: "table",
        list: "array",
        tuple: "array",
    }
    if type(value) is int:
        return "signedint" if -(1 << 31) <= value < 1 << 31 else "long"
    return next((name for kind, name in names.items() if isinstance(value, kind)), "void")


def format_term(value: Any) -> str:
    """Return a field value as ``~tp`` prints it, on one line however long it is."""
    if value is None:
        return "undefined"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | bytes):
        return format_binary(value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value)
    if isinstance(value, Mapping):
        fields = (f"{{{format_term(key)},{format_type(item)},{format_term(item)}}}" for key, item in value.items())
        return f"[{','.join(fields)}]"
    if isinstance(value, list | tuple):
        return f"[{','.join(f'{{{format_type(item)},{format_term(item)}}}' for item in value)}]"
    if isinstance(value, Decimal):
        _, digits, exponent = value.as_tuple()
        return f"{{{-int(exponent)},{''.join(map(str, digits))}}}"
    if isinstance(value, float):
        return format_float(value)
    return str(value)


def format_json(value: Any) -> str:
    """Return a value that came as JSON as Erlang's ``~p`` prints it."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        fields = (f"{format_json(key)} => {format_json(item)}" for key, item in sorted(value.items()))
        return f"#{{{','.join(fields)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(format_json, value))}]"
    return format_term(value)


def format_float(value: float) -> str:
    """Return a float as ``~p`` prints it: the shortest digits that mean it, in the shorter notation.

    Infinities and NaN, which Erlang does not know, come out as Python shows them.
    """
    if not math.isfinite(value):
        return str(value)
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    text = "".join(map(str, digits))
    minus = "-" if sign else ""
    if value == 0:
        return f"{minus}0.0"
    point = len(text) + int(exponent)
    scientific = f"{text[0]}.{text[1:] or '0'}e{point - 1}"
    if point <= 0:
        plain = f"0.{'0' * -point}{text}"
    elif point >= len(text):
        plain = f"{text.ljust(point, '0')}.0"
    else:
        plain = f"{text[:point]}.{text[point:]}"
    return minus + (plain if len(plain) <= len(scientific) and abs(value) < PLAIN_FLOAT_MAX else scientific)


def format_text(octets: bytes) -> str:
    """Return octets as ``~ts`` prints a binary: as UTF-8, and what is not UTF-8 as Latin-1."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def format_binary(octets: bytes) -> str:
    """Return octets as ``~tp`` prints a binary: as text where it is printable."""
    text = format_text(octets)
    if not PRINTABLE.fullmatch(text):
        return format_octets(octets)
    utf8 = not text.isascii() and text.encode() == octets
    return f'<<"{text.translate(ESCAPES)}"{"/utf8" if utf8 else ""}>>'


def format_string(octets: bytes) -> str:
    """Return octets as ``~tp`` prints a list of them: as text where they are printable."""
    text = octets.decode("latin-1")
    return f'"{text.translate(ESCAPES)}"' if PRINTABLE.fullmatch(text) else f"[{','.join(map(str, octets))}]"


def format_octets(octets: bytes) -> str:
    """Return octets as ``~w`` prints a binary: always as numbers."""
    return f"<<{','.join(map(str, octets))}>>"
