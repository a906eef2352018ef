"""Names of exchanges and queues: how they are cleaned, made up, and called in error texts."""

import binascii
import os
from typing import Any

from protocol.amqp.errors import access_refused

RESERVED_PREFIX = "amq."
_GENERATED_SIZE_BYTES = 16
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def clean(name: str) -> str:
    """Return a name without carriage returns and line feeds, as RabbitMQ takes names."""
    return name.replace("\r", "").replace("\n", "")


def generate(prefix: str) -> str:
    """Return a name that nobody can guess: ``prefix``, a hyphen and 22 characters."""
    unguessable = binascii.b2a_base64(os.urandom(_GENERATED_SIZE_BYTES), newline=False)
    return f"{prefix}-{unguessable.translate(_URL_SAFE, b'=').decode()}"


def queue_resource(channel: Any, name: str) -> str:
    """Return how a queue is called in error texts."""
    return f"queue '{name}' in vhost '{channel.vhost.name}'"


def exchange_resource(channel: Any, name: str) -> str:
    """Return how an exchange is called in error texts."""
    return f"exchange '{name}' in vhost '{channel.vhost.name}'"


def refuse_default_exchange(name: str) -> None:
    """Refuse what cannot be done to the default exchange."""
    if name == "":
        raise access_refused("operation not permitted on the default exchange")


def check_permission(channel: Any, permission: str, resource: str, name: str) -> None:
    """Refuse what the user may not do; ``permission`` is configure, write or read."""
    user = channel.connection.user
    if not user.may(channel.vhost.name, permission, name):
        raise access_refused(f"{permission} access to {resource} refused for user '{user.name}'")
