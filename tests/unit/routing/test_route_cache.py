from dataclasses import dataclass

import pytest

from broker.routing.address import encode_address
from broker.routing.alternates import ALTERNATE_EXCHANGE, Alternates
from broker.routing.default import default_exchange
from broker.routing.exchange import Binding, Exchange
from broker.routing.message_view import MessageView
from broker.routing.registry import find_exchange_type
from broker.routing.route import Route, RouteCache
from tests.support.messages import published


@dataclass(eq=False)
class Queue:
    name: str
    durable: bool = True
    gate: int = 0


class NoSuchExchangeError(Exception):
    pass


class VirtualHost:
    """Exchanges, queues and a cache, put together as the broker does it."""

    def __init__(self, routes_max: int = 100, destinations_max: int = 1000) -> None:
        self.queues: dict[str, Queue] = {}
        self.exchanges = {"": default_exchange(self.queues)}
        self.alternates = Alternates(self.exchanges)
        self.cache = RouteCache(self.find_exchange, routes_max, destinations_max)

    def find_exchange(self, name: str) -> Exchange:
        if name not in self.exchanges:
            raise NoSuchExchangeError(name)
        return self.exchanges[name]

    def exchange(self, name: str, type_name: str = "direct", alternate: str | None = None) -> Exchange:
        arguments: dict[str, object] = {} if alternate is None else {ALTERNATE_EXCHANGE: alternate}
        exchange_type = find_exchange_type(type_name)(arguments)
        exchange = Exchange(name, exchange_type, arguments=arguments, alternates=self.alternates)
        self.exchanges[name] = exchange
        exchange.forget_routes()
        return exchange

    def delete_exchange(self, name: str) -> None:
        self.exchanges.pop(name).detach()

    def queue(self, name: str) -> Queue:
        self.queues[name] = Queue(name)
        self.cache.forget_queue(name)
        return self.queues[name]

    def delete_queue(self, name: str) -> None:
        del self.queues[name]
        self.cache.forget_queue(name)

    def resolve(self, exchange: str, routing_key: str) -> Route:
        return self.cache.resolve(encode_address(exchange, routing_key))


@pytest.fixture
def vhost() -> VirtualHost:
    return VirtualHost()


def test_a_route_says_all_there_is_to_know(vhost: VirtualHost) -> None:
    exchange = vhost.exchange("x", "fanout")
    queues = [Queue("1"), Queue("2", durable=False), Queue("3")]
    for queue in queues:
        exchange.bind(Binding(exchange, queue, ""))
    route = vhost.resolve("x", "ä")
    assert route.address == b"\x01x\x02\xc3\xa4"
    assert route.exchange is exchange
    assert route.routing_key == "ä"
    assert route.queues == tuple(queues)
    assert route.durable_queues == (queues[0], queues[2])
    assert not route.dynamic
    assert not route.stale


def test_the_second_time_it_is_the_same_route(vhost: VirtualHost) -> None:
    vhost.exchange("x")
    assert vhost.resolve("x", "k") is vhost.resolve("x", "k")
    assert vhost.resolve("x", "k") is not vhost.resolve("x", "l")
    assert len(vhost.cache) == 2


def test_an_unknown_exchange_is_not_remembered(vhost: VirtualHost) -> None:
    for _ in range(2):
        with pytest.raises(NoSuchExchangeError, match="x"):
            vhost.resolve("x", "k")
    vhost.exchange("x")
    assert vhost.resolve("x", "k").queues == ()


def test_a_malformed_address_is_refused(vhost: VirtualHost) -> None:
    with pytest.raises(ValueError, match="two short strings"):
        vhost.cache.resolve(b"\x05abc")


def test_binding_and_unbinding_make_routes_stale(vhost: VirtualHost) -> None:
    exchange, queue = vhost.exchange("x"), vhost.queue("q")
    before = vhost.resolve("x", "k")
    exchange.bind(Binding(exchange, queue, "k"))
    bound = vhost.resolve("x", "k")
    exchange.bind(Binding(exchange, queue, "k"))
    exchange.unbind(Binding(exchange, queue, "other"))
    assert not bound.stale, "nothing has changed"
    exchange.unbind(Binding(exchange, queue, "k"))
    after = vhost.resolve("x", "k")
    assert (before.stale, bound.stale, after.stale) == (True, True, False)
    assert (before.queues, bound.queues, after.queues) == ((), (queue,), ())


def test_a_change_reaches_the_exchanges_upstream_and_no_others(vhost: VirtualHost) -> None:
    first, second, third, beside = (vhost.exchange(name, "fanout") for name in ("1", "2", "3", "4"))
    first.bind(Binding(first, second, ""))
    second.bind(Binding(second, third, ""))
    third.bind(Binding(third, first, ""))
    first.bind(Binding(first, beside, ""))
    queue = vhost.queue("q")
    routes = {name: vhost.resolve(name, "k") for name in ("1", "2", "3", "4")}
    third.bind(Binding(third, queue, ""))
    assert [routes[name].stale for name in ("1", "2", "3", "4")] == [True, True, True, False]
    assert vhost.resolve("1", "k").queues == (queue,)


def test_a_deleted_exchange_leaves_no_route_behind(vhost: VirtualHost) -> None:
    exchange = vhost.exchange("x")
    route = vhost.resolve("x", "k")
    del vhost.exchanges["x"]
    exchange.detach()
    assert route.stale
    with pytest.raises(NoSuchExchangeError):
        vhost.resolve("x", "k")


def test_queues_that_come_and_go_cost_only_their_own_route(vhost: VirtualHost) -> None:
    exchange, queue = vhost.exchange("x"), vhost.queue("bound")
    exchange.bind(Binding(exchange, queue, "k"))
    kept = [vhost.resolve("x", "k"), vhost.resolve("", "bound")]
    for _ in range(3):
        unroutable = vhost.resolve("", "short-lived")
        assert unroutable.queues == ()
        short_lived = vhost.queue("short-lived")
        assert unroutable.stale
        route = vhost.resolve("", "short-lived")
        assert route.queues == (short_lived,)
        vhost.delete_queue("short-lived")
        assert route.stale
    assert not any(route.stale for route in kept)
    assert len(vhost.cache) == 2


def test_clearing_makes_every_route_stale(vhost: VirtualHost) -> None:
    for name in ("x", "y"):
        vhost.exchange(name)
    routes = [vhost.resolve(name, key) for name in ("x", "y", "") for key in ("k", "l")]
    vhost.cache.clear()
    assert all(route.stale for route in routes)
    assert len(vhost.cache) == 0


def test_an_exchange_that_depends_on_messages_makes_a_route_dynamic(vhost: VirtualHost) -> None:
    source, headers = vhost.exchange("x"), vhost.exchange("h", "headers")
    queue, transient = vhost.queue("q"), Queue("t", durable=False)
    source.bind(Binding(source, headers, "h"))
    headers.bind(Binding(headers, queue, "", {"a": 1}))
    headers.bind(Binding(headers, transient, "", {"a": 1}))
    assert not vhost.resolve("x", "k").dynamic
    for name in ("x", "h"):
        route = vhost.resolve(name, "h")
        assert route.dynamic
        assert route.queues == ()
        assert route is vhost.resolve(name, "h")
        matching = route.for_message(MessageView(published(headers={"a": 1})))
        assert matching.queues == (queue, transient)
        assert matching.durable_queues == (queue,)
        assert matching.address == route.address
        assert matching.stale, "it must not be taken for the next message"
        assert not matching.dynamic
        assert route.for_message(MessageView(published(headers={"a": 2}))).queues == ()


def test_more_routing_keys_of_one_message_lead_to_more_queues(vhost: VirtualHost) -> None:
    exchange, middle = vhost.exchange("x"), vhost.exchange("m")
    one, two = vhost.queue("1"), vhost.queue("2")
    exchange.bind(Binding(exchange, one, "a"))
    exchange.bind(Binding(exchange, middle, "b"))
    middle.bind(Binding(middle, two, "c"))
    route = vhost.resolve("x", "a")
    wider = route.for_message(MessageView(published()), ("b", "c"))
    assert set(wider.queues) == {one, two}
    assert (wider.address, wider.routing_key, wider.stale) == (route.address, "a", True)
    assert vhost.resolve("x", "a").queues == (one,), "the next message has one routing key again"


def test_what_an_exchange_has_no_destination_for_goes_to_its_alternate(vhost: VirtualHost) -> None:
    exchange, alternate = vhost.exchange("x", alternate="a"), vhost.exchange("a", "fanout")
    queue, rest = vhost.queue("q"), vhost.queue("rest")
    exchange.bind(Binding(exchange, queue, "k"))
    alternate.bind(Binding(alternate, rest, ""))
    assert vhost.resolve("x", "k").queues == (queue,)
    assert vhost.resolve("x", "other").queues == (rest,)


def test_an_exchange_that_leads_nowhere_is_a_destination_all_the_same(vhost: VirtualHost) -> None:
    exchange, alternate, dead_end = vhost.exchange("x", alternate="a"), vhost.exchange("a"), vhost.exchange("d")
    alternate.bind(Binding(alternate, vhost.queue("rest"), "k"))
    exchange.bind(Binding(exchange, dead_end, "k"))
    assert vhost.resolve("x", "k").queues == ()


def test_each_exchange_on_the_way_has_an_alternate_of_its_own(vhost: VirtualHost) -> None:
    exchange, middle, alternate = vhost.exchange("x", "fanout"), vhost.exchange("m", alternate="a"), vhost.exchange("a")
    beside, rest = vhost.queue("beside"), vhost.queue("rest")
    exchange.bind(Binding(exchange, middle, ""))
    exchange.bind(Binding(exchange, beside, ""))
    alternate.bind(Binding(alternate, rest, "k"))
    assert set(vhost.resolve("x", "k").queues) == {beside, rest}


@pytest.mark.parametrize("circle", ["x", "xy", "xyz"])
def test_alternates_in_a_circle_come_to_an_end(vhost: VirtualHost, circle: str) -> None:
    for name, alternate in zip(circle, circle[1:] + circle[0], strict=True):
        vhost.exchange(name, alternate=alternate)
    assert vhost.resolve("x", "k").queues == ()
    last = vhost.exchanges[circle[-1]]
    queue = vhost.queue("q")
    last.bind(Binding(last, queue, "k"))
    assert vhost.resolve("x", "k").queues == (queue,)


def test_routes_follow_the_alternate_as_it_comes_changes_and_goes(vhost: VirtualHost) -> None:
    upstream, exchange = vhost.exchange("u", "fanout"), vhost.exchange("x", alternate="a")
    upstream.bind(Binding(upstream, exchange, ""))
    queue, other = vhost.queue("q"), vhost.queue("other")

    def queues() -> list[tuple[object, ...]]:
        return [vhost.resolve(name, "k").queues for name in ("u", "x")]

    assert queues() == [(), ()]
    alternate = vhost.exchange("a", alternate="b")
    assert queues() == [(), ()]
    alternate.bind(Binding(alternate, queue, "k"))
    assert queues() == [(queue,), (queue,)]
    alternate.unbind(Binding(alternate, queue, "k"))
    assert queues() == [(), ()]
    second = vhost.exchange("b", "fanout")
    second.bind(Binding(second, other, ""))
    assert queues() == [(other,), (other,)]
    vhost.delete_exchange("a")
    assert queues() == [(), ()]
    exchange.alternate = "b"
    exchange.forget_routes()
    assert queues() == [(other,), (other,)]
    exchange.alternate = None
    exchange.forget_routes()
    assert queues() == [(), ()]


def test_a_deleted_exchange_is_nobodys_upstream_any_more(vhost: VirtualHost) -> None:
    vhost.exchange("x", alternate="a")
    vhost.exchange("y", alternate="a")
    assert len(list(vhost.alternates.naming("a"))) == 2
    for name in ("x", "y"):
        vhost.delete_exchange(name)
    assert list(vhost.alternates.naming("a")) == []


@pytest.mark.parametrize("name", ["", "nobody"])
def test_an_alternate_that_is_not_there_gets_nothing(vhost: VirtualHost, name: str) -> None:
    vhost.queue("k")
    exchange = vhost.exchange("x", alternate=name)
    assert vhost.resolve("x", "k").queues == ()
    assert exchange.alternate == (name or None)


def test_a_headers_exchange_has_its_alternate_for_each_message(vhost: VirtualHost) -> None:
    exchange, alternate = vhost.exchange("x", "headers", alternate="a"), vhost.exchange("a", "fanout")
    queue, rest = vhost.queue("q"), vhost.queue("rest")
    exchange.bind(Binding(exchange, queue, "", {"a": 1}))
    alternate.bind(Binding(alternate, rest, ""))
    route = vhost.resolve("x", "")
    assert route.for_message(MessageView(published(headers={"a": 1}))).queues == (queue,)
    assert route.for_message(MessageView(published())).queues == (rest,)


def test_the_number_of_routes_is_bounded_and_used_ones_stay() -> None:
    vhost = VirtualHost(routes_max=10)
    vhost.exchange("x")
    favourite = vhost.resolve("x", "favourite")
    routes = []
    for number in range(100):
        routes.append(vhost.resolve("x", str(number)))
        assert len(vhost.cache) <= 10
        assert vhost.resolve("x", "favourite") is favourite
    assert sum(not route.stale for route in routes) < 10, "who leaves the cache is stale"


def test_the_number_of_destinations_is_bounded() -> None:
    vhost = VirtualHost(routes_max=1000, destinations_max=100)
    exchange = vhost.exchange("x", "fanout")
    for number in range(20):
        exchange.bind(Binding(exchange, Queue(str(number)), ""))
    routes = []
    for number in range(50):
        routes.append(vhost.resolve("x", str(number)))
        assert sum(len(route.queues) for route in routes if not route.stale) <= 100
    for number in range(20, 200):
        exchange.bind(Binding(exchange, Queue(str(number)), ""))
    assert len(vhost.cache) == 0
    large = [vhost.resolve("x", str(number)) for number in range(10)]
    assert [route.stale for route in large] == [True] * 8 + [False] * 2
    assert vhost.resolve("x", "9") is large[9]


def test_the_octets_of_addresses_are_bounded() -> None:
    vhost = VirtualHost()
    vhost.cache = RouteCache(vhost.find_exchange, addresses_max_bytes=1000)
    vhost.exchange("x")
    routes = []
    for number in range(200):
        routes.append(vhost.resolve("x", f"{number:097}"))
        assert sum(len(route.address) for route in routes if not route.stale) <= 1000
    assert len(vhost.cache) >= 5
    small = [vhost.resolve("x", str(number)) for number in range(50)]
    assert not any(route.stale for route in small)


def test_routes_that_are_dropped_make_room() -> None:
    vhost = VirtualHost(routes_max=1000, destinations_max=100)
    quiet, busy = vhost.exchange("quiet"), vhost.exchange("busy", "fanout")
    for number in range(20):
        busy.bind(Binding(busy, Queue(str(number)), ""))
    kept = vhost.resolve("quiet", "k")
    for number in range(20):
        vhost.resolve("busy", "k")
        vhost.resolve("quiet", str(number))
        busy.bind(Binding(busy, quiet, str(number)))
    assert not kept.stale
