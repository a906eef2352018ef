from dataclasses import dataclass

import pytest

from broker.routing.default import default_exchange
from broker.routing.exchange import Binding, Exchange
from broker.routing.exchange_type import InvalidDefinitionError
from broker.routing.message_view import ANY_MESSAGE
from broker.routing.registry import EXCHANGE_TYPES, find_exchange_type


@dataclass(eq=False)
class Queue:
    name: str
    durable: bool = True
    gate: int = 0


def exchange_of(type_name: str) -> Exchange:
    return Exchange("x", find_exchange_type(type_name)({}))


def route(exchange: Exchange, *routing_keys: str) -> set[object]:
    return set(exchange.type.route(routing_keys, ANY_MESSAGE))


def test_the_registry_knows_the_types_of_the_specification_and_of_rabbitmq() -> None:
    assert list(EXCHANGE_TYPES)[:4] == ["direct", "fanout", "headers", "topic"]
    further = [
        "x-consistent-hash",
        "x-delayed-message",
        "x-local-random",
        "x-modulus-hash",
        "x-random",
        "x-recent-history",
    ]
    assert list(EXCHANGE_TYPES)[4:] == further
    for name, exchange_type in EXCHANGE_TYPES.items():
        assert exchange_type.name == name
    with pytest.raises(InvalidDefinitionError, match="unknown exchange type 'x-none'"):
        find_exchange_type("x-none")


def test_direct_takes_the_key_as_it_is() -> None:
    exchange, one, two = exchange_of("direct"), Queue("1"), Queue("2")
    for queue, key in [(one, "a"), (two, "a"), (two, "#"), (one, "")]:
        exchange.bind(Binding(exchange, queue, key))
    assert route(exchange, "a") == {one, two}
    assert route(exchange, "#") == {two}
    assert route(exchange, "") == {one}
    assert route(exchange, "b") == set()
    exchange.unbind(Binding(exchange, one, "a"))
    assert route(exchange, "a") == {two}


def test_fanout_ignores_the_key_and_keeps_a_queue_until_its_last_binding_goes() -> None:
    exchange, one, two = exchange_of("fanout"), Queue("1"), Queue("2")
    for queue, key in [(one, "a"), (one, "b"), (two, "a")]:
        exchange.bind(Binding(exchange, queue, key))
    assert route(exchange, "anything") == {one, two}
    exchange.unbind(Binding(exchange, one, "a"))
    assert route(exchange, "anything") == {one, two}
    exchange.unbind(Binding(exchange, one, "b"))
    assert route(exchange, "anything") == {two}


def test_an_empty_binding_key_of_one_topic_exchange_matches_in_no_other() -> None:
    first, second = exchange_of("topic"), exchange_of("topic")
    queue = Queue("q")
    first.bind(Binding(first, queue, ""))
    second.bind(Binding(second, Queue("other"), "a"))
    assert route(first, "") == {queue}
    assert route(first, "a") == set()
    assert route(second, "") == set()


def test_a_topic_binding_key_has_at_most_two_hashes() -> None:
    exchange = exchange_of("topic")
    for key in ("#.#", "#.a.#", "a.##.#.#"):
        assert exchange.bind(Binding(exchange, Queue("q"), key))
    with pytest.raises(InvalidDefinitionError) as refused:
        exchange.bind(Binding(exchange, Queue("q"), "#.a.#.b.#"))
    assert str(refused.value) == "Topic binding key '#.a.#.b.#' uses 3 '#' wildcards, at most 2 are allowed"
    assert len(exchange.bindings) == 3


def test_the_default_exchange_routes_to_the_queue_of_that_name() -> None:
    queues: dict[str, Queue] = {}
    exchange = default_exchange(queues)
    assert (exchange.name, exchange.type.name, exchange.durable) == ("", "direct", True)
    assert route(exchange, "q") == set()
    queues["q"] = Queue("q")
    assert route(exchange, "q") == {queues["q"]}
    with pytest.raises(AssertionError):
        exchange.bind(Binding(exchange, queues["q"], "other"))


@pytest.mark.parametrize("type_name", ["direct", "topic"])
def test_several_routing_keys_lead_wherever_one_of_them_does(type_name: str) -> None:
    exchange, one, two, three = exchange_of(type_name), Queue("1"), Queue("2"), Queue("3")
    for queue, key in [(one, "a"), (two, "b"), (three, "c")]:
        exchange.bind(Binding(exchange, queue, key))
    assert route(exchange, "b", "none", "a") == {one, two}


def test_several_routing_keys_name_several_queues_to_the_default_exchange() -> None:
    queues = {name: Queue(name) for name in "abc"}
    assert route(default_exchange(queues), "a", "none", "c") == {queues["a"], queues["c"]}


def test_a_type_that_does_not_depend_on_messages_cannot_look_at_them() -> None:
    with pytest.raises(LookupError, match="depends_on_message"):
        assert ANY_MESSAGE.headers
