"""The fanout exchange: to everyone, whatever the routing key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.routing.exchange import Binding, Destination
from broker.routing.exchange_type import ExchangeType
from broker.routing.message_view import MessageView


class FanoutExchangeType(ExchangeType):
    """Routes to every destination that is bound (AMQP 0-9-1, section 3.1.3.2)."""

    name = "fanout"

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__(arguments)
        self._bindings: dict[Binding, None] = {}

    def bind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        self._bindings[binding] = None

    def unbind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        del self._bindings[binding]

    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:  # noqa: ARG002
        """See ``ExchangeType``."""
        return [binding.destination for binding in self._bindings]
