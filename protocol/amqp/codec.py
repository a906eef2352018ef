"""Methods to payloads of method frames and back, as the table in ``spec`` says (specification, section 4.2.4)."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from protocol.amqp import methods, spec
from protocol.amqp.erlang_term import format_binary, format_octets
from protocol.amqp.errors import command_invalid, frame_error
from protocol.amqp.field_table import decode_table, encode_table
from protocol.amqp.methods import Method

_IDS = struct.Struct(">HH")
_FIXED = {
    "octet": struct.Struct(">B"),
    "short": struct.Struct(">H"),
    "long": struct.Struct(">I"),
    "longlong": struct.Struct(">Q"),
    "timestamp": struct.Struct(">Q"),
}
_LONG = _FIXED["long"]
_EMPTY: dict[str, Any] = {"shortstr": "", "longstr": b"", "bit": False, "table": {}}


class _Layout(NamedTuple):
    """How one method stands on the wire."""

    method: type[Method]
    arguments: tuple[spec.Argument, ...]
    prefix: bytes


_LAYOUTS: dict[tuple[int, int], _Layout] = {
    (row.class_id, row.method_id): _Layout(
        methods.METHODS[row.name], row.arguments, _IDS.pack(row.class_id, row.method_id)
    )
    for row in spec.METHODS
}


def decode_method(payload: bytes) -> Method:
    """Return the method that a method frame carries.

    Raises ``ConnectionException``: COMMAND_INVALID for a method that does not exist, FRAME_ERROR where the payload
    names no method, or its arguments do not fill it exactly, or are malformed.
    """
    if len(payload) < _IDS.size:
        raise frame_error(f"type 1, all octets = {format_binary(payload)}: unknown_frame")
    class_id, method_id = _IDS.unpack_from(payload)
    layout = _LAYOUTS.get((class_id, method_id))
    if layout is None:
        raise command_invalid(f"unknown method {class_id}.{method_id}", class_id, method_id)
    try:
        values, end = _decode_arguments(payload, layout)
    except (struct.error, IndexError):
        end = -1
    if end != len(payload):
        raise frame_error(f"cannot decode {format_octets(payload[_IDS.size :])}", class_id, method_id)
    return layout.method(**values)


def _decode_arguments(payload: bytes, layout: _Layout) -> tuple[dict[str, Any], int]:
    values: dict[str, Any] = {}
    at = _IDS.size
    bit = 0
    value: Any
    for name, kind in layout.arguments:
        if kind == "bit":
            # Bits that follow one another share octets (specification, section 4.2.5.2).
            if bit == 0:
                at += 1
            value = bool(payload[at - 1] >> bit & 1)
            bit = (bit + 1) & 7
        else:
            bit = 0
            if kind == "shortstr":
                end = at + 1 + payload[at]
                octets = payload[at + 1 : end]
                at = end
                try:
                    value = octets.decode()
                except UnicodeDecodeError:
                    if not layout.method.has_content:
                        raise frame_error("Malformed UTF-8 in shortstr") from None
                    value = octets.decode("utf-8", "surrogateescape")
            elif kind in ("longstr", "table"):
                start = at + _LONG.size
                at = start + _LONG.unpack_from(payload, at)[0]
                if at > len(payload):
                    raise IndexError
                value = payload[start:at] if kind == "longstr" else decode_table(payload[start:at])
            else:
                form = _FIXED[kind]
                value = form.unpack_from(payload, at)[0]
                at += form.size
        if not name.startswith("reserved"):
            values[name] = value
    return values, at


def encode_method(method: Method) -> bytes:
    """Return the payload of the method frame that carries ``method``.

    Raises ``ValueError`` where an argument does not fit its type.
    """
    layout = _LAYOUTS[method.class_id, method.method_id]
    parts = [layout.prefix]
    bits, bit_count = 0, 0
    for name, kind in layout.arguments:
        value: Any = _EMPTY.get(kind, 0) if name.startswith("reserved") else getattr(method, name)
        if kind == "bit":
            if bit_count == 8:
                parts.append(bytes((bits,)))
                bits = bit_count = 0
            bits |= bool(value) << bit_count
            bit_count += 1
            continue
        if bit_count:
            parts.append(bytes((bits,)))
            bits = bit_count = 0
        if kind == "shortstr":
            octets = value.encode("utf-8", "surrogateescape")
            if len(octets) > 255:
                raise ValueError(f"{name} of {method.name} has more than 255 octets")
            parts += (bytes((len(octets),)), octets)
        elif kind == "longstr":
            parts += (_LONG.pack(len(value)), value)
        elif kind == "table":
            octets = encode_table(value)
            parts += (_LONG.pack(len(octets)), octets)
        else:
            try:
                parts.append(_FIXED[kind].pack(value))
            except struct.error as error:
                raise ValueError(f"{name} of {method.name} cannot be {value!r}: {error}") from error
    if bit_count:
        parts.append(bytes((bits,)))
    return b"".join(parts)
