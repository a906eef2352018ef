"""The default exchange, whose name is empty: every queue is bound to it under its own name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from broker.routing.exchange import Binding, Destination, Exchange
from broker.routing.exchange_type import ExchangeType
from broker.routing.message_view import MessageView


class DefaultExchangeType(ExchangeType):
    """Routes to the queue whose name is the routing key (AMQP 0-9-1, section 3.1.3.1).

    Its bindings are implicit: ``queues`` is the virtual host's own mapping of queues by name, and is only read.
    """

    name = "direct"

    def __init__(self, queues: Mapping[str, Any]) -> None:
        super().__init__({})
        self._queues = queues

    def bind(self, binding: Binding) -> None:  # noqa: ARG002
        """Nobody may do this: a channel refuses it with ACCESS_REFUSED."""
        raise AssertionError("the default exchange has no bindings of its own")

    unbind = bind

    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:  # noqa: ARG002
        """See ``ExchangeType``."""
        queues = self._queues
        return [queues[key] for key in routing_keys if key in queues]


def default_exchange(queues: Mapping[str, Any]) -> Exchange:
    """Return the default exchange of the virtual host that has these queues."""
    return Exchange("", DefaultExchangeType(queues), durable=True)
