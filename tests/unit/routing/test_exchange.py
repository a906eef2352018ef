from dataclasses import dataclass

from broker.routing.exchange import Binding, Exchange
from broker.routing.message_view import MessageView
from broker.routing.registry import find_exchange_type
from broker.routing.router import find_queues
from tests.support.messages import published


@dataclass(eq=False)
class Queue:
    name: str
    durable: bool = True
    gate: int = 0


def exchange_of(type_name: str, name: str = "x", durable: bool = True) -> Exchange:
    return Exchange(name, find_exchange_type(type_name)({}), durable=durable)


def queues_of(exchange: Exchange, routing_key: str = "k") -> list[object]:
    found = find_queues(exchange, (routing_key,), MessageView(published(headers={"a": 1})))
    assert found is not None
    assert len(found) == len(set(found))
    return sorted(found, key=lambda queue: queue.name)  # type: ignore[attr-defined]


def test_the_same_binding_twice_is_one_binding() -> None:
    exchange, queue = exchange_of("direct"), Queue("q")
    assert exchange.bind(Binding(exchange, queue, "k", {"a": 1, "b": [True]}))
    assert not exchange.bind(Binding(exchange, queue, "k", {"b": [True], "a": 1}))
    assert len(exchange.bindings) == 1
    assert exchange.unbind(Binding(exchange, queue, "k", {"b": [True], "a": 1})) is not None
    assert queues_of(exchange) == []
    assert exchange.unbind(Binding(exchange, queue, "k", {"b": [True], "a": 1})) is None


def test_bindings_differ_in_destination_key_and_arguments_with_their_types() -> None:
    exchange = exchange_of("direct")
    one, two = Queue("same name"), Queue("same name")
    variants: list[tuple[Queue, str, dict[str, object]]] = [
        (one, "k", {}),
        (two, "k", {}),
        (one, "l", {}),
        (one, "k", {"a": 1}),
        (one, "k", {"a": 1.0}),
        (one, "k", {"a": True}),
        (one, "k", {"a": "1"}),
        (one, "k", {"a": b"1"}),
        (one, "k", {"a": [1]}),
        (one, "k", {"a": [True]}),
        (one, "k", {"a": {"b": 1, "c": 2}}),
        (one, "k", {"a": None}),
    ]
    for variant in variants:
        assert exchange.bind(Binding(exchange, *variant))
    assert len(exchange.bindings) == len(variants)
    for count, variant in enumerate(variants, start=1):
        removed = exchange.unbind(Binding(exchange, *variant))
        assert removed is not None
        assert removed.arguments == variant[2]
        assert len(exchange.bindings) == len(variants) - count


def test_a_binding_is_as_durable_as_its_ends() -> None:
    durable, transient = exchange_of("direct"), exchange_of("direct", durable=False)
    assert Binding(durable, Queue("q"), "").durable
    assert not Binding(durable, Queue("q", durable=False), "").durable
    assert not Binding(transient, Queue("q"), "").durable
    assert not Binding(durable, transient, "").durable


def test_a_message_passes_from_exchange_to_exchange() -> None:
    source, middle, last = exchange_of("topic"), exchange_of("direct"), exchange_of("headers")
    near, far = Queue("near"), Queue("far")
    source.bind(Binding(source, middle, "#.b"))
    source.bind(Binding(source, near, "a.#"))
    middle.bind(Binding(middle, last, "a.b"))
    last.bind(Binding(last, far, "", {"a": 1}))
    assert queues_of(source, "a.b") == [far, near]
    assert queues_of(source, "c.b") == []
    assert queues_of(source, "a") == [near]


def test_a_queue_gets_a_message_once_however_many_ways_lead_to_it() -> None:
    source, one, two = exchange_of("fanout"), exchange_of("fanout"), exchange_of("topic")
    queue = Queue("q")
    for exchange in (one, two):
        source.bind(Binding(source, exchange, "a"))
        source.bind(Binding(source, exchange, "b"))
    source.bind(Binding(source, queue, ""))
    one.bind(Binding(one, queue, "x"))
    two.bind(Binding(two, queue, "#"))
    two.bind(Binding(two, queue, "k"))
    assert queues_of(source) == [queue]


def test_cycles_of_bindings_come_to_an_end() -> None:
    first, second, third = (exchange_of("fanout", name) for name in "123")
    one, three = Queue("1"), Queue("3")
    first.bind(Binding(first, first, ""))
    first.bind(Binding(first, second, ""))
    second.bind(Binding(second, third, ""))
    second.bind(Binding(second, first, ""))
    third.bind(Binding(third, first, ""))
    first.bind(Binding(first, one, ""))
    third.bind(Binding(third, three, ""))
    for exchange in (first, second, third):
        assert queues_of(exchange) == [one, three]


def test_without_a_message_there_is_no_answer_beyond_a_headers_exchange() -> None:
    source, last = exchange_of("topic"), exchange_of("headers")
    source.bind(Binding(source, last, "h.#"))
    assert find_queues(source, ("a",), None) == ()
    assert find_queues(source, ("h.a",), None) is None


def test_deletion_takes_away_the_bindings_of_both_sides() -> None:
    source, exchange, last = (exchange_of("fanout", name) for name in "123")
    queue = Queue("q")
    into = Binding(source, exchange, "")
    out = Binding(exchange, last, "")
    to_queue = Binding(exchange, queue, "")
    to_itself = Binding(exchange, exchange, "")
    for binding in (into, out, to_queue, to_itself):
        binding.source.bind(binding)
    last.bind(Binding(last, queue, ""))
    assert exchange.inbound == {source: {into: into}, exchange: {to_itself: to_itself}}
    assert set(exchange.detach()) == {into, out, to_queue, to_itself}
    assert not exchange.bindings
    assert not exchange.inbound
    assert not source.bindings
    assert not last.inbound
    assert queues_of(source) == []
    assert queues_of(last) == [queue]
