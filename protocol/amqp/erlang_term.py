"""Values as RabbitMQ prints them into reply texts, which clients and their users compare."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any


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
    """Return a field value as Erlang's ``~p`` prints it."""
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


def format_binary(octets: bytes) -> str:
    """Return octets as ``~p`` prints a binary: as text where it is printable."""
    text = octets.decode("utf-8", "replace")
    if not octets or not text.isprintable() or "\N{REPLACEMENT CHARACTER}" in text:
        return format_octets(octets)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'<<"{quoted}">>' if text.isascii() else f'<<"{quoted}"/utf8>>'


def format_octets(octets: bytes) -> str:
    """Return octets as ``~w`` prints a binary: always as numbers."""
    return f"<<{','.join(map(str, octets))}>>"
