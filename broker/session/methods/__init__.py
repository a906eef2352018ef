"""What a channel does for each method that has no fast path, one file per class of the specification."""

from collections.abc import Callable
from typing import Any

from broker.session.methods import (
    access_methods,
    basic_methods,
    channel_methods,
    confirm_methods,
    exchange_methods,
    queue_methods,
    tx_methods,
)

CHANNEL_METHODS: dict[Any, Callable[[Any, Any], None]] = {
    **access_methods.HANDLERS,
    **basic_methods.HANDLERS,
    **channel_methods.HANDLERS,
    **confirm_methods.HANDLERS,
    **exchange_methods.HANDLERS,
    **queue_methods.HANDLERS,
    **tx_methods.HANDLERS,
}
"""Handlers by method: each takes the channel and the method, and raises ``AMQPError`` to refuse it."""
