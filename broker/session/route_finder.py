"""Where the messages of a channel go, if they may go there."""

from typing import Any

import cython

from broker.routing.address import decode_address
from broker.routing.exchange import Exchange
from broker.routing.route import Route, RouteCache
from broker.session.names import check_permission, exchange_resource
from broker.session.outlet import ROUTE_WORK
from broker.session.publish_checks import check_exchange
from protocol.amqp.errors import ChannelException
from protocol.amqp.reader import FrameReader

# Of so many exchanges a channel remembers that it may publish to them.
EXCHANGES_ALLOWED_MAX = 16


class RouteFinder:
    """Finds the routes for one channel.

    What a channel may publish to does not change: users keep their permissions as long as they are connected, and an
    exchange is internal or not as long as it lives. So each exchange is checked once, and not each routing key.
    """

    def __init__(self, routes: RouteCache) -> None:
        self._routes = routes
        self._known = routes.known
        self._last_allowed: Exchange | None = None
        self._allowed: set[Exchange] | None = None

    def find_read(self, channel: Any, reader: FrameReader) -> Route:
        """Return the route of the publish that was read; raises if the channel may not publish there."""
        route: Route | None = self._known.find(reader)
        if route is None:
            return self.find(channel, reader.address_octets())
        if route.exchange is not self._last_allowed:
            self._allow(channel, route.exchange)
        return route

    def find(self, channel: Any, address: bytes) -> Route:
        """Return the route of an address; raises if the channel may not publish there."""
        count_before: cython.ulonglong = self._routes.found_count
        try:
            route = self._routes.resolve(address)
        except ChannelException:
            # As in RabbitMQ, only who may write to it learns that there is no such exchange.
            name = decode_address(address)[0]
            check_permission(channel, "write", exchange_resource(channel, name), name)
            raise
        if self._routes.found_count != count_before:
            channel.connection.work_left -= ROUTE_WORK + len(route.queues)
        if route.exchange is not self._last_allowed:
            self._allow(channel, route.exchange)
        return route

    def _allow(self, channel: Any, exchange: Exchange) -> int:
        if self._allowed is None:
            self._allowed = set()
        if exchange not in self._allowed:
            check_exchange(channel, exchange)
            if len(self._allowed) >= EXCHANGES_ALLOWED_MAX:
                self._allowed.clear()
            self._allowed.add(exchange)
        self._last_allowed = exchange
        return 0
