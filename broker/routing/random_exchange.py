"""The random exchange: each message to one binding, whichever."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from broker.routing.exchange import Binding, Destination
from broker.routing.exchange_type import ExchangeType
from broker.routing.message_view import MessageView


class RandomExchangeType(ExchangeType):
    """Routes each message to the destination of one binding, chosen at random; the routing key does not matter.

    All bindings are as likely, so that a destination with several gets more.
    """

    name = "x-random"
    depends_on_message = True

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__(arguments)
        self._bindings: dict[Binding, None] = {}
        self._destinations: list[Destination] | None = None

    def bind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        self._bindings[binding] = None
        self._destinations = None

    def unbind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        del self._bindings[binding]
        self._destinations = None

    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:  # noqa: ARG002
        """See ``ExchangeType``."""
        if not self._bindings:
            return ()
        if self._destinations is None:
            self._destinations = [binding.destination for binding in self._bindings]
        return (random.choice(self._destinations),)  # noqa: S311 (nothing depends on nobody guessing it)
