"""The class confirm, RabbitMQ's extension for publisher confirms."""

from collections.abc import Callable
from typing import Any

from broker.session.confirms import Confirms
from protocol.amqp.errors import precondition_failed
from protocol.amqp.methods import ConfirmSelect, ConfirmSelectOk


def select(channel: Any, method: ConfirmSelect) -> None:
    """Confirm publishes from now on."""
    if channel.transaction is not None:
        raise precondition_failed("cannot switch from tx to confirm mode")
    if channel.confirms is None:
        channel.confirms = Confirms()
    if not method.nowait:
        channel.reply(ConfirmSelectOk())


HANDLERS: dict[Any, Callable[[Any, Any], None]] = {ConfirmSelect: select}
