import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from broker.routing.exchange import Binding, Exchange
from broker.routing.exchange_type import InvalidDefinitionError
from broker.routing.message_view import ANY_MESSAGE
from broker.routing.registry import find_exchange_type

COUNT = 3000


@dataclass(eq=False)
class Queue:
    name: str
    durable: bool = True
    gate: int = 0


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    state = random.getstate()
    number = random.randrange(2**32)
    print(f"seed {number}")
    random.seed(number)
    yield
    random.setstate(state)


def exchange_of(type_name: str) -> Exchange:
    return Exchange("x", find_exchange_type(type_name)({}))


def spread(exchange: Exchange) -> Counter[str]:
    found: Counter[str] = Counter()
    for number in range(COUNT):
        (destination,) = exchange.type.route((str(number),), ANY_MESSAGE)
        found[destination.name] += 1
    return found


@pytest.mark.parametrize("type_name", ["x-random", "x-local-random"])
def test_each_message_goes_to_one_destination_and_all_get_some(type_name: str) -> None:
    exchange = exchange_of(type_name)
    assert exchange.type.depends_on_message, "the route must not be cached"
    assert not list(exchange.type.route(("k",), ANY_MESSAGE))
    queues = [Queue(name) for name in "abc"]
    for queue in queues:
        exchange.bind(Binding(exchange, queue, ""))
    assert all(0.25 < spread(exchange)[name] / COUNT < 0.42 for name in "abc")
    for queue in queues[1:]:
        exchange.unbind(Binding(exchange, queue, ""))
    assert spread(exchange) == {"a": COUNT}


def test_a_destination_with_two_bindings_gets_twice_as_much() -> None:
    exchange, one, two = exchange_of("x-random"), Queue("one"), Queue("two")
    for queue, key in [(one, "a"), (two, "a"), (two, "b")]:
        exchange.bind(Binding(exchange, queue, key))
    assert 0.25 < spread(exchange)["one"] / COUNT < 0.42


def test_what_a_local_random_exchange_does_not_bind() -> None:
    exchange = exchange_of("x-local-random")
    with pytest.raises(InvalidDefinitionError) as refused:
        exchange.bind(Binding(exchange, Queue("q"), "key"))
    assert str(refused.value) == "Non empty binding 'key' key not permitted"
    with pytest.raises(InvalidDefinitionError) as refused:
        exchange.bind(Binding(exchange, exchange_of("fanout"), ""))
    assert str(refused.value) == "Destination not found"
