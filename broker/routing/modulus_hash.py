"""The modulus hash exchange: the routing key decides which one of all bindings gets a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.routing.erlang_hash import hash_binaries
from broker.routing.exchange import Binding, Destination, Exchange
from broker.routing.exchange_type import ExchangeType
from broker.routing.message_view import MessageView


class ModulusHashExchangeType(ExchangeType):
    """Routes each message to one destination: a hash of its routing keys, modulo the number of bindings.

    The destinations are counted by kind and name, so that a restart changes nothing; a further binding moves nearly
    all keys.
    """

    name = "x-modulus-hash"

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__(arguments)
        self._bindings: dict[Binding, None] = {}
        self._sorted: list[Destination] | None = None

    def bind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        self._bindings[binding] = None
        self._sorted = None

    def unbind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        del self._bindings[binding]
        self._sorted = None

    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:  # noqa: ARG002
        """See ``ExchangeType``."""
        if not self._bindings:
            return ()
        if self._sorted is None:
            self._sorted = sorted((binding.destination for binding in self._bindings), key=_place)
        hashed = hash_binaries([key.encode("utf-8", "surrogateescape") for key in routing_keys])
        return (self._sorted[hashed % len(self._sorted)],)


def _place(destination: Destination) -> tuple[bool, bytes]:
    return not isinstance(destination, Exchange), destination.name.encode("utf-8", "surrogateescape")
