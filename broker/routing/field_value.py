"""How values of field tables are compared: exactly, as identity, and by value, as the headers exchange does it."""

from collections.abc import Hashable, Mapping
from decimal import Decimal

from protocol.amqp.field_table import Timestamp


def table_identity(table: Mapping[str, object]) -> Hashable:
    """Return what is equal for two tables if, and only if, they have the same fields of the same types.

    The order of the fields does not matter; within nested tables it does, as in RabbitMQ.
    """
    if not table:
        return ()
    return tuple((key, identity(table[key])) for key in sorted(table))


def identity(value: object) -> Hashable:
    """Return what is equal for two values if, and only if, they have the same type and content."""
    return type(value), _content(value)


def comparable(value: object) -> Hashable:
    """Return what is equal for two values if, and only if, the headers exchange takes one for the other.

    The width of an integer or of a float, and text or bytes, make no difference. An integer is never a float,
    a boolean or a timestamp. The elements of arrays and nested tables are compared with their types.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    for kind in (bool, float, Decimal, Timestamp):
        if isinstance(value, kind):
            return kind, _content(value)
    return _content(value)


def _content(value: object) -> Hashable:
    if isinstance(value, Mapping):
        return tuple((key, identity(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(identity(item) for item in value)
    if isinstance(value, Decimal):
        return value.as_tuple()  # 1.0 and 1.00 are two values
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, Hashable):
        raise TypeError(f"a field table cannot hold {value!r}")
    return value
