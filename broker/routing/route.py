"""Routes, and the cache of them that stands between a publish and the exchanges."""

from __future__ import annotations

from collections.abc import Callable

import cython

from broker.routing.address import decode_address, encode_address
from broker.routing.address_table import AddressTable
from broker.routing.exchange import Exchange, Queue
from broker.routing.gate import ASKS, OPEN
from broker.routing.message_view import MessageView
from broker.routing.router import find_queues

ROUTES_MAX = 65_536
"""How many routes a cache holds."""

ADDRESSES_MAX_BYTES = 8 * 1024 * 1024
"""How many octets the addresses of those routes have together. In memory they take two to three times as much."""

DESTINATIONS_MAX = 1_048_576
"""How many queues the routes in a cache have together. A route that has more than half of it is alone in its half."""


class Route:
    """Where messages with one address go.

    ``queues`` are all of them, ``durable_queues`` those that are durable. If the route is ``dynamic`` it depends
    on each message, and ``for_message`` has to be asked; ``queues`` is empty then. A route may be kept and used
    again as long as it is not ``stale``. ``gate`` says what has to be done before a message is put into the
    queues.
    """

    def __init__(self, address: bytes, exchange: Exchange, routing_key: str, found: tuple[Queue, ...] | None) -> None:
        """Take what ``find_queues`` has found: None makes the route dynamic."""
        queues = found or ()
        self.address = address
        self.exchange = exchange
        self.routing_key = routing_key
        self.queues = queues
        self.durable_queues: tuple[Queue, ...] = queues
        durable_queues = tuple([queue for queue in queues if queue.durable])
        if len(durable_queues) < len(queues):
            self.durable_queues = durable_queues
        self.dynamic = found is None
        self.gate = ASKS if exchange.deduplicator is not None else max([queue.gate for queue in queues], default=OPEN)
        self.stale = False

    def for_message(self, message: MessageView, extra_keys: tuple[str, ...] = ()) -> Route:
        """Return the route of one message; it is not cached, and not to be used again.

        It has to be asked for if the route is dynamic, and for a message that has more routing keys than the one
        of its address (``extra_keys``, of the headers CC and BCC).
        """
        found = find_queues(self.exchange, (self.routing_key, *extra_keys), message)
        route = Route(self.address, self.exchange, self.routing_key, found)
        route.stale = True
        return route


class RouteCache:
    """Routes by address, for one virtual host. What is in it is right: what is no longer right is taken out.

    Exchanges take out their routes by themselves when their bindings change; the virtual host says when a queue
    comes or goes. The routes are in two halves: when the half of those used since the last time is full, the
    other half, not used since, goes. A route that leaves the cache is stale, whyever it leaves. Of those in the
    half used since, most are ``known``, so that they are found by the octets of what was read.

    ``found_count`` says how many were in neither half, so that exchanges had to be asked.
    ``find_exchange`` returns the exchange of a name or raises what ``resolve`` shall raise.
    """

    def __init__(
        self,
        find_exchange: Callable[[str], Exchange],
        routes_max: int = ROUTES_MAX,
        destinations_max: int = DESTINATIONS_MAX,
        addresses_max_bytes: int = ADDRESSES_MAX_BYTES,
    ) -> None:
        self.routes_max = routes_max
        self.destinations_max = destinations_max
        self.addresses_max_bytes = addresses_max_bytes
        self._find_exchange = find_exchange
        self._recent: dict[bytes, Route] = {}
        self.known = AddressTable()
        self._older: dict[bytes, Route] = {}
        self._by_exchange: dict[Exchange, dict[bytes, Route]] = {}
        self._recent_destinations = 0
        self._recent_bytes = 0
        self.found_count = 0

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def resolve(self, address: bytes) -> Route:
        """Return the route of an address; raises what ``find_exchange`` raises."""
        route: Route | None = self.known.get(address)
        return self._miss(address) if route is None else route

    def forget_queue(self, name: str) -> None:
        """Drop the route to a queue over the default exchange: the queue has been declared or deleted."""
        if not self._recent and not self._older:
            return
        address = encode_address("", name)
        route = self._recent.get(address) or self._older.get(address)
        if route is not None:
            self._drop(route)

    def forget_exchange(self, exchange: Exchange) -> None:
        """Drop the routes that start at an exchange."""
        routes = self._by_exchange.get(exchange)
        if routes is not None:
            for route in list(routes.values()):
                self._drop(route)

    def clear(self) -> None:
        """Drop every route."""
        for exchange in list(self._by_exchange):
            self.forget_exchange(exchange)

    def _miss(self, address: bytes) -> Route:
        route: Route | None = self._recent.get(address)
        if route is not None:
            self.known.put(address, route)
            return route
        route = self._older.pop(address, None)
        if route is None:
            self.found_count += 1
            name, routing_key = decode_address(address)
            exchange = self._find_exchange(name)
            route = Route(address, exchange, routing_key, find_queues(exchange, (routing_key,), None))
            self._by_exchange.setdefault(exchange, {})[address] = route
            exchange.route_cache = self
        self._make_room(len(route.queues), len(address))
        self._recent[address] = route
        self.known.put(address, route)
        self._recent_destinations += len(route.queues)
        self._recent_bytes += len(address)
        return route

    def _make_room(self, destinations: cython.Py_ssize_t, address_bytes: cython.Py_ssize_t) -> None:
        if not self._recent:
            return
        if (
            len(self._recent) >= self.routes_max // 2
            or self._recent_destinations + destinations > self.destinations_max // 2
            or self._recent_bytes + address_bytes > self.addresses_max_bytes // 2
        ):
            dropped = self._older
            self._older = self._recent
            self._recent = {}
            self.known.clear()
            self._recent_destinations = 0
            self._recent_bytes = 0
            for route in dropped.values():
                self._forget(route)

    def _forget(self, route: Route) -> None:
        route.stale = True
        siblings: dict[bytes, Route] = self._by_exchange[route.exchange]
        del siblings[route.address]
        if not siblings:
            del self._by_exchange[route.exchange]

    def _drop(self, route: Route) -> None:
        self._forget(route)
        self.known.remove(route.address)
        if self._recent.pop(route.address, None) is not None:
            self._recent_destinations -= len(route.queues)
            self._recent_bytes -= len(route.address)
        else:
            self._older.pop(route.address, None)
