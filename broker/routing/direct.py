"""The direct exchange: the routing key is the binding's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.routing.exchange import Binding, Destination
from broker.routing.exchange_type import ExchangeType
from broker.routing.message_view import MessageView


class DirectExchangeType(ExchangeType):
    """Routes to the destinations that are bound under exactly the routing key (AMQP 0-9-1, section 3.1.3.1)."""

    name = "direct"

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__(arguments)
        self._bindings: dict[str, dict[Binding, None]] = {}

    def bind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        self._bindings.setdefault(binding.routing_key, {})[binding] = None

    def unbind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        bindings = self._bindings[binding.routing_key]
        del bindings[binding]
        if not bindings:
            del self._bindings[binding.routing_key]

    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:  # noqa: ARG002
        """See ``ExchangeType``."""
        return [binding.destination for key in routing_keys for binding in self._bindings.get(key, ())]
