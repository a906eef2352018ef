"""The delayed message exchange: routes like another type, once the time has come that a message asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from broker.clock import now_ms
from broker.queueing.schedule import requested_delivery_ms
from broker.routing.exchange import Binding, Destination
from broker.routing.exchange_type import ExchangeType, InvalidDefinitionError
from broker.routing.message_view import MessageView

TYPE_ARGUMENT = "x-delayed-type"


class DelayedMessageExchangeType(ExchangeType):
    """Holds back the messages that have ``x-delay`` or ``x-deliver-at``; ``x-delayed-type`` says how it routes.

    What is held back is in ``store``, a queue of the exchange's own. As in RabbitMQ's plugin of that name, routing
    happens when the time has come, by the bindings of that time.
    """

    name = "x-delayed-message"
    depends_on_message = True
    inner_types: ClassVar[Mapping[str, type[ExchangeType]]] = {}

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__(arguments)
        inner = arguments.get(TYPE_ARGUMENT)
        if not isinstance(inner, str) or inner not in self.inner_types or inner == self.name:
            raise InvalidDefinitionError(f"Invalid argument, '{TYPE_ARGUMENT}' must be an existing exchange type")
        self._inner = self.inner_types[inner](arguments)
        self.store: Any = None

    def validate_binding(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        self._inner.validate_binding(binding)

    def bind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        self._inner.bind(binding)

    def unbind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        self._inner.unbind(binding)

    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:
        """See ``ExchangeType``."""
        held: Any = message.message
        if self.store is not None:
            if held.published_at_ms == 0:
                held.published_at_ms = now_ms()
            if requested_delivery_ms(held) > now_ms():
                return (self.store,)
        return self._inner.route(routing_keys, message)
