"""Whatever happens to queues, exchanges and bindings: a route that is not stale is what asking anew would give."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from broker.routing.address import encode_address
from broker.routing.alternates import ALTERNATE_EXCHANGE, Alternates
from broker.routing.default import default_exchange
from broker.routing.exchange import Binding, Exchange
from broker.routing.registry import find_exchange_type
from broker.routing.route import Route, RouteCache
from broker.routing.router import find_queues

QUEUES = ["q1", "q2", "q3"]
EXCHANGES = ["x1", "x2", "x3", "x4"]
TYPES = ["direct", "fanout", "headers", "topic", "x-modulus-hash", "x-random"]
KEYS = ["", "a", "a.b", "#", "*", "a.#", *QUEUES]
ARGUMENTS: list[dict[str, object]] = [{}, {"a": 1}, {"x-match": "any", "a": 1}]
ROUTES_MAX = 8
DESTINATIONS_MAX = 8
ADDRESSES_MAX_BYTES = 40


class Queue:
    def __init__(self, name: str) -> None:
        self.name = name
        self.durable = name != "q1"
        self.gate = 0


class Machine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.queues: dict[str, Queue] = {}
        self.exchanges = {"": default_exchange(self.queues)}
        self.alternates = Alternates(self.exchanges)
        self.cache = RouteCache(self.exchanges.__getitem__, ROUTES_MAX, DESTINATIONS_MAX, ADDRESSES_MAX_BYTES)
        self.kept: dict[bytes, Route] = {}

    @rule(name=st.sampled_from(QUEUES))
    def declare_or_delete_queue(self, name: str) -> None:
        if name not in self.queues:
            self.queues[name] = Queue(name)
        else:
            queue = self.queues.pop(name)
            for exchange in self.exchanges.values():
                for binding in list(exchange.bindings):
                    if binding.destination is queue:
                        exchange.unbind(binding)
        self.cache.forget_queue(name)

    @rule(
        name=st.sampled_from(EXCHANGES),
        type_name=st.sampled_from(TYPES),
        alternate=st.sampled_from(["", *EXCHANGES]),
    )
    def declare_exchange(self, name: str, type_name: str, alternate: str) -> None:
        if name not in self.exchanges:
            arguments = {ALTERNATE_EXCHANGE: alternate}
            exchange_type = find_exchange_type(type_name)(arguments)
            self.exchanges[name] = Exchange(name, exchange_type, arguments=arguments, alternates=self.alternates)
            self.exchanges[name].forget_routes()

    @rule(name=st.sampled_from(EXCHANGES), alternate=st.sampled_from([None, *EXCHANGES]))
    def change_alternate(self, name: str, alternate: str | None) -> None:
        if name in self.exchanges:
            self.exchanges[name].alternate = alternate
            self.exchanges[name].forget_routes()

    @rule(name=st.sampled_from(EXCHANGES))
    def delete_exchange(self, name: str) -> None:
        exchange = self.exchanges.pop(name, None)
        if exchange is not None:
            exchange.detach()

    @rule(
        bind=st.sampled_from([True, True, False]),
        source=st.sampled_from(EXCHANGES),
        destination=st.sampled_from(EXCHANGES + QUEUES),
        routing_key=st.sampled_from(KEYS),
        arguments=st.sampled_from(ARGUMENTS),
    )
    def bind_or_unbind(
        self, bind: bool, source: str, destination: str, routing_key: str, arguments: dict[str, object]
    ) -> None:
        end = self.exchanges.get(destination) or self.queues.get(destination)
        exchange = self.exchanges.get(source)
        if exchange is None or end is None:
            return
        binding = Binding(exchange, end, routing_key, arguments)
        if bind:
            exchange.bind(binding)
        else:
            exchange.unbind(binding)

    @rule(exchange=st.sampled_from(["", *EXCHANGES]), routing_keys=st.lists(st.sampled_from(KEYS), max_size=9))
    def publish(self, exchange: str, routing_keys: list[str]) -> None:
        if exchange not in self.exchanges:
            return
        for routing_key in routing_keys:
            route = self.cache.resolve(encode_address(exchange, routing_key))
            assert not route.stale
            assert (route.exchange, route.routing_key) == (self.exchanges[exchange], routing_key)
            self.kept[route.address] = route

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        assert all(route.stale for route in self.kept.values())

    @invariant()
    def routes_that_are_not_stale_are_right(self) -> None:
        for route in self.kept.values():
            if route.stale:
                continue
            exchange = self.exchanges[route.exchange.name]
            assert route.exchange is exchange
            assert set(route.durable_queues) == {queue for queue in route.queues if queue.durable}
            found = find_queues(exchange, (route.routing_key,), None)
            assert route.dynamic == (found is None)
            if found is not None:
                assert route.queues == found

    @invariant()
    def the_cache_is_bounded(self) -> None:
        alive = [route for route in self.kept.values() if not route.stale]
        assert len(alive) == len(self.cache) <= ROUTES_MAX
        assert sum(len(route.queues) for route in alive) <= DESTINATIONS_MAX
        assert sum(len(route.address) for route in alive) <= ADDRESSES_MAX_BYTES
        assert len(self.cache.known) <= len(alive)

    @invariant()
    def what_is_found_by_its_octets_is_in_the_cache(self) -> None:
        for route in self.kept.values():
            known = self.cache.known.get(route.address)
            assert known is None or not known.stale
            assert known is None or known is self.kept[route.address]

    @invariant()
    def alternates_know_who_names_them(self) -> None:
        for name in EXCHANGES:
            expected = {exchange for exchange in self.exchanges.values() if exchange.alternate == name}
            assert set(self.alternates.naming(name)) == expected

    @invariant()
    def both_ends_of_a_binding_know_of_it(self) -> None:
        for exchange in self.exchanges.values():
            for source, bindings in exchange.inbound.items():
                assert bindings
                assert all(source.bindings[binding] is binding for binding in bindings)
            for binding in exchange.bindings:
                if isinstance(binding.destination, Exchange):
                    assert binding.destination is self.exchanges[binding.destination.name]
                    assert binding in binding.destination.inbound[exchange]


TestRouteCache = Machine.TestCase
TestRouteCache.settings = settings(max_examples=150, stateful_step_count=40, print_blob=True, deadline=None)
