"""The class access, which 0-9-1 has dropped and old clients still use."""

from collections.abc import Callable
from typing import Any

from protocol.amqp.methods import AccessRequest, AccessRequestOk


def request(channel: Any, method: AccessRequest) -> None:  # noqa: ARG001
    """Grant everything: the ticket means nothing."""
    channel.reply(AccessRequestOk(ticket=1))


HANDLERS: dict[Any, Callable[[Any, Any], None]] = {AccessRequest: request}
