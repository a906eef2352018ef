"""Exchanges and the bindings that lead out of them and into them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from broker.routing.alternates import ALTERNATE_EXCHANGE, Alternates
from broker.routing.exchange_type import ExchangeType
from broker.routing.field_value import table_identity

if TYPE_CHECKING:
    from broker.routing.route import RouteCache


class Queue(Protocol):
    """All that routing asks of a queue. Queues are told apart by identity."""

    @property
    def name(self) -> str:
        """The name; no two queues of a virtual host have the same."""

    @property
    def durable(self) -> bool:
        """Whether the queue survives a restart of the broker."""

    @property
    def gate(self) -> int:
        """What has to be done before a message is put into the queue, see ``broker.routing.gate``."""


Destination: TypeAlias = "Exchange | Queue"


class Binding:
    """The relation of an exchange and a destination, under a routing key and arguments.

    Two bindings are equal if source, destination, routing key and arguments are: the same binding made twice is
    one binding, and to take it away one has to name the same arguments, with the same types.
    """

    __slots__ = ("_identity", "arguments", "destination", "routing_key", "source")

    def __init__(
        self,
        source: Exchange,
        destination: Destination,
        routing_key: str,
        arguments: Mapping[str, object] | None = None,
    ) -> None:
        self.source = source
        self.destination = destination
        self.routing_key = routing_key
        self.arguments: Mapping[str, object] = arguments or {}
        self._identity = table_identity(self.arguments)

    @property
    def durable(self) -> bool:
        """Whether the binding survives a restart of the broker, because both of its ends do."""
        return self.source.durable and self.destination.durable

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Binding):
            return NotImplemented
        return (
            self.source is other.source
            and self.destination is other.destination
            and self.routing_key == other.routing_key
            and self._identity == other._identity
        )

    def __hash__(self) -> int:
        return hash((id(self.source), id(self.destination), self.routing_key, self._identity))


class Exchange:
    """An exchange: its properties as declared, the bindings at both of its sides, and the routing of its type.

    ``bindings`` are those that lead out of it, ``inbound`` those that lead into it from other exchanges, by
    source; both keep the order in which the bindings were made. ``route_cache`` is the cache that has routes from
    here, if there is one. ``deduplicator`` knows the messages that must not come twice, if there are such.
    ``alternates`` are those of the virtual host; without them there is no alternate exchange.
    """

    __slots__ = (
        "_alternate",
        "_alternates",
        "arguments",
        "auto_delete",
        "bindings",
        "deduplicator",
        "durable",
        "inbound",
        "internal",
        "name",
        "route_cache",
        "type",
    )

    def __init__(
        self,
        name: str,
        type: ExchangeType,  # noqa: A002 (the specification's word)
        *,
        durable: bool = False,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: Mapping[str, object] | None = None,
        alternates: Alternates | None = None,
    ) -> None:
        self.name = name
        self.type = type
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.arguments: Mapping[str, object] = arguments or {}
        self.bindings: dict[Binding, Binding] = {}
        self.inbound: dict[Exchange, dict[Binding, Binding]] = {}
        self.route_cache: RouteCache | None = None
        self.deduplicator: Any = None
        self._alternates = alternates
        self._alternate: str | None = None
        alternate = self.arguments.get(ALTERNATE_EXCHANGE)
        self.alternate = alternate if isinstance(alternate, str) else None

    @property
    def alternate(self) -> str | None:
        """The name of the exchange that gets the messages for which there is no destination here, if it exists.

        Whoever changes it has ``forget_routes`` to call.
        """
        return self._alternate

    @alternate.setter
    def alternate(self, name: str | None) -> None:
        name = name or None
        if self._alternates is not None:
            self._alternates.rename(self, self._alternate, name)
        self._alternate = name

    @property
    def alternate_exchange(self) -> Exchange | None:
        """The exchange that ``alternate`` names, if there is one now."""
        if self._alternate is None or self._alternates is None:
            return None
        return self._alternates.find(self._alternate)

    def bind(self, binding: Binding) -> bool:
        """Make a binding out of this exchange and return whether it is new.

        Raises ``InvalidDefinitionError`` if the exchange's type refuses it.
        """
        self.type.validate_binding(binding)
        if binding in self.bindings:
            return False
        self.type.bind(binding)
        self.bindings[binding] = binding
        if isinstance(binding.destination, Exchange):
            binding.destination.inbound.setdefault(self, {})[binding] = binding
        self.forget_routes()
        return True

    def unbind(self, binding: Binding) -> Binding | None:
        """Take away the binding that equals ``binding`` and return it, or None if there is none."""
        removed = self.bindings.pop(binding, None)
        if removed is None:
            return None
        self.type.unbind(removed)
        if isinstance(removed.destination, Exchange):
            inbound = removed.destination.inbound
            del inbound[self][removed]
            if not inbound[self]:
                del inbound[self]
        self.forget_routes()
        return removed

    def detach(self) -> list[Binding]:
        """Take away the alternate and all bindings out of and into this exchange, which has been deleted.

        Returns the bindings.
        """
        self.alternate = None
        all_bindings = {**self.bindings}
        for inbound in self.inbound.values():
            all_bindings.update(inbound)
        for binding in all_bindings:
            binding.source.unbind(binding)
        self.forget_routes()
        return list(all_bindings)

    def forget_routes(self) -> None:
        """Drop the cached routes that start at this exchange, or at one from which messages can reach it.

        They can over bindings and as to an alternate exchange. An exchange that has just been added under its name
        has to be asked too, because others may have named it as their alternate before.
        """
        upstream = {self: None}
        pending = [self]
        while pending:
            exchange = pending.pop()
            if exchange.route_cache is not None:
                exchange.route_cache.forget_exchange(exchange)
            naming = () if exchange._alternates is None else exchange._alternates.naming(exchange.name)
            for source in (*exchange.inbound, *naming):
                if source not in upstream:
                    upstream[source] = None
                    pending.append(source)
