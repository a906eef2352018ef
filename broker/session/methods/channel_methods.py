"""The class channel (specification, section 1.5)."""

from collections.abc import Callable
from typing import Any

from protocol.amqp.errors import channel_error, not_implemented
from protocol.amqp.methods import (
    ChannelClose,
    ChannelCloseOk,
    ChannelFlow,
    ChannelFlowOk,
    ChannelOpen,
    ChannelOpenOk,
)


def open_(channel: Any, method: ChannelOpen) -> None:  # noqa: ARG001
    """Open the channel."""
    if channel.is_open:
        raise channel_error("second 'channel.open' seen")
    channel.open()
    channel.reply(ChannelOpenOk())


def close(channel: Any, method: ChannelClose) -> None:  # noqa: ARG001
    """Close the channel; what it held is given back before the client hears of it."""
    connection = channel.connection

    def ended() -> None:
        connection.forget_channel(channel)
        connection.send_method(channel.number, ChannelCloseOk())

    channel.end(ended)


def flow(channel: Any, method: ChannelFlow) -> None:
    """Refuse to stop the flow, as RabbitMQ does: prefetch is the way to bound it."""
    if not method.active:
        raise not_implemented("active=false")
    channel.reply(ChannelFlowOk(active=True))


HANDLERS: dict[Any, Callable[[Any, Any], None]] = {ChannelOpen: open_, ChannelClose: close, ChannelFlow: flow}
