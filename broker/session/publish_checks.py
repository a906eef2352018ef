"""What is refused about a publish before it is routed; the words are RabbitMQ's."""

import re
from typing import Any

from broker.policy.values import EXPIRY_MAX_MS
from broker.routing.exchange import Exchange
from broker.session import direct_reply
from broker.session.names import check_permission, exchange_resource
from protocol.amqp.content_header import FLAGS_LOOKED_INTO, FLAGS_VALIDATED, property_flags
from protocol.amqp.erlang_term import format_string, format_text, format_type
from protocol.amqp.errors import access_refused, precondition_failed
from protocol.amqp.field_table import decode_value
from protocol.amqp.header_fields import (
    BCC,
    CC,
    HIDDEN_PREFIX,
    TRAIT_HIDDEN,
    TRAIT_ROUTED,
    find_traits,
    replace_fields,
    replace_reply_to,
    reply_to_of,
    split_fields,
)
from protocol.amqp.properties import decode_properties

# Each is routed by itself, and with each death of the message they are written down once more.
ROUTING_KEYS_MAX = 1024

_PSEUDO_QUEUE = direct_reply.PSEUDO_QUEUE.encode()
_INTEGER = re.compile(rb"[+-]?[0-9]+")


def check_exchange(channel: Any, exchange: Exchange) -> None:
    """Refuse a publish to an exchange that takes none from clients, or none from this one."""
    resource = exchange_resource(channel, exchange.name)
    check_permission(channel, "write", resource, exchange.name)
    if exchange.internal:
        raise access_refused(f"cannot publish to internal {resource}")


def accept_properties(channel: Any, header: bytes) -> tuple[bytes, int]:
    """Return the header that a message is to have, and its traits.

    Refuses an expiration that is no time, the name of another user, and routing keys in CC or BCC that are none.
    """
    flags = property_flags(header)
    if flags & FLAGS_VALIDATED:
        _check_properties(channel, header)
    if not flags & FLAGS_LOOKED_INTO:
        return header, 0
    if reply_to_of(header) == _PSEUDO_QUEUE:
        header = replace_reply_to(header, direct_reply.reply_name(channel))
    traits = find_traits(header)
    if traits & (TRAIT_HIDDEN | TRAIT_ROUTED):
        fields = split_fields(header)
        # The broker's own fields are for nobody else to set.
        forged = [name for name in fields if name.startswith(HIDDEN_PREFIX)]
        if forged:
            for name in forged:
                del fields[name]
            header = replace_fields(header, fields)
            traits = find_traits(header)
        _check_routing_keys(fields)
    return header, traits


def _check_routing_keys(fields: dict[bytes, bytes]) -> None:
    count = 0
    for name in (CC, BCC):
        if name in fields:
            keys = decode_value(fields[name])
            if not isinstance(keys, list):
                raise precondition_failed(
                    f'invalid message: {{unacceptable_type_in_header,"{name.decode()}",{format_type(keys)}}}'
                )
            count += len(keys)
    if count > ROUTING_KEYS_MAX:
        raise precondition_failed(f"invalid message: {count} routing keys in CC and BCC, at most {ROUTING_KEYS_MAX}")


def _check_properties(channel: Any, header: bytes) -> None:
    properties = decode_properties(header)
    if properties.expiration is not None:
        expiration = properties.expiration.encode("utf-8", "surrogateescape")
        problem = _expiration_problem(expiration)
        if problem:
            raise precondition_failed(f"invalid expiration '{format_text(expiration)}': {problem}")
    user = channel.connection.user
    if properties.user_id is not None and properties.user_id != user.name:
        raise precondition_failed(
            f"user_id property set to '{properties.user_id}' but authenticated user was '{user.name}'"
        )


def _expiration_problem(expiration: bytes) -> str:
    # RabbitMQ looks at octets, so that no other digits count than those of ASCII.
    found = _INTEGER.match(expiration)
    if found is None:
        return "no_integer"
    if found.end() < len(expiration):
        return f"{{leftover_string,{format_string(expiration[found.end() :])}}}"
    value = int(found.group())
    if value < 0:
        return f"{{value_negative,{value}}}"
    return f"{{value_too_large,{value}}}" if value > EXPIRY_MAX_MS else ""
