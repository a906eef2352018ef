"""The local random exchange: each message to one queue of this broker, whichever."""

from __future__ import annotations

from broker.routing.exchange import Binding, Exchange
from broker.routing.exchange_type import InvalidDefinitionError
from broker.routing.random_exchange import RandomExchangeType


class LocalRandomExchangeType(RandomExchangeType):
    """Routes as the random exchange does, but only to queues, bound under the empty key.

    In a cluster of RabbitMQ it only takes queues of the node that the publisher is connected to. Here all are.
    """

    name = "x-local-random"

    def validate_binding(self, binding: Binding) -> None:
        """Refuse a binding key, and exchanges as destinations."""
        if binding.routing_key:
            raise InvalidDefinitionError(f"Non empty binding '{binding.routing_key}' key not permitted")
        if isinstance(binding.destination, Exchange):
            raise InvalidDefinitionError("Destination not found")
