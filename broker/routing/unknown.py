"""What an exchange has whose type is not there any more."""

from __future__ import annotations

from collections.abc import Iterable

from broker.routing.exchange import Binding, Destination
from broker.routing.exchange_type import ExchangeType
from broker.routing.message_view import MessageView
from protocol.amqp.errors import precondition_failed


class UnknownExchangeType(ExchangeType):
    """Stands for a type whose extension is missing: the exchange and its bindings are kept, but nothing is routed.

    ``resource`` is what the exchange is called in error texts.
    """

    def __init__(self, name: str, resource: str) -> None:
        super().__init__({})
        self.name = name
        self._resource = resource

    def bind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""

    def unbind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""

    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:  # noqa: ARG002
        """Refuse it; raises ``ChannelException``."""
        raise precondition_failed(f"Cannot route message through {self._resource}: exchange type {self.name} not found")
