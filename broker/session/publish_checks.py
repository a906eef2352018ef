"""What is refused about a publish before it is routed; the words are RabbitMQ's."""

import re
from typing import Any

from broker.policy.values import EXPIRY_MAX_MS
from broker.routing.exchange import Exchange
from broker.session.names import check_permission, exchange_resource
from protocol.amqp.errors import access_refused, precondition_failed
from protocol.amqp.properties import decode_properties

_INTEGER = re.compile(r"[+-]?\d+")


def check_exchange(channel: Any, exchange: Exchange) -> None:
    """Refuse a publish to an exchange that takes none from clients, or none from this one."""
    resource = exchange_resource(channel, exchange.name)
    check_permission(channel, "write", resource, exchange.name)
    if exchange.internal:
        raise access_refused(f"cannot publish to internal {resource}")


def check_properties(channel: Any, header: bytes) -> None:
    """Refuse an expiration that is no time, and the name of another user."""
    properties = decode_properties(header)
    if properties.expiration is not None:
        problem = _expiration_problem(properties.expiration)
        if problem:
            raise precondition_failed(f"invalid expiration '{properties.expiration}': {problem}")
    user = channel.connection.user
    if properties.user_id is not None and properties.user_id != user.name:
        raise precondition_failed(
            f"user_id property set to '{properties.user_id}' but authenticated user was '{user.name}'"
        )


def _expiration_problem(expiration: str) -> str:
    found = _INTEGER.match(expiration)
    if found is None:
        return "no_integer"
    if found.end() < len(expiration):
        return f'{{leftover_string,"{expiration[found.end() :]}"}}'
    value = int(found.group())
    if value < 0:
        return f"{{value_negative,{value}}}"
    return f"{{value_too_large,{value}}}" if value > EXPIRY_MAX_MS else ""
