from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.routing.consistent_hash import BUCKETS_MAX, WEIGHT_MAX
from broker.routing.erlang_hash import HASHES, hash_binaries, hash_binary, jump_consistent_hash
from broker.routing.exchange import Binding, Exchange
from broker.routing.exchange_type import InvalidDefinitionError
from broker.routing.message_view import ANY_MESSAGE, MessageView
from broker.routing.registry import find_exchange_type
from protocol.amqp.field_table import Timestamp
from tests.support.messages import published

KEYS = [f"key-{number}" for number in range(2000)]


@dataclass(eq=False)
class Queue:
    name: str
    durable: bool = True
    gate: int = 0


def exchange_of(type_name: str, arguments: Mapping[str, object] | None = None, name: str = "x") -> Exchange:
    return Exchange(name, find_exchange_type(type_name)(arguments or {}))


def consistent(weights: Mapping[str, int], arguments: Mapping[str, object] | None = None) -> Exchange:
    exchange = exchange_of("x-consistent-hash", arguments)
    for name, weight in weights.items():
        exchange.bind(Binding(exchange, Queue(name), str(weight)))
    return exchange


def destination(exchange: Exchange, message: MessageView, *routing_keys: str) -> Any:
    (found,) = exchange.type.route(routing_keys, message)
    return found


def by_key(exchange: Exchange) -> dict[str, str]:
    return {key: destination(exchange, ANY_MESSAGE, key).name for key in KEYS}


@pytest.mark.parametrize(
    ("octets", "alone", "listed"),
    [
        (b"", 13708901, 38220213),
        (b"a", 112802447, 53691870),
        (b"customer-7", 84850758, 23918302),
        (b"exactly 12 b", 108976124, 99363088),
        (b"exactly 12 b.", 78456884, 13068436),
        (b"xyz\xff" * 60, 98234178, 133870000),
    ],
)
def test_octets_are_hashed_as_erlang_does(octets: bytes, alone: int, listed: int) -> None:
    """What erlang:phash2(Octets) and erlang:phash2([Octets]) return."""
    assert hash_binary(octets) == alone
    assert hash_binaries([octets]) == listed


def test_lists_are_hashed_as_erlang_does() -> None:
    assert hash_binaries([b"a", b"b"]) == 3094894
    assert hash_binaries([b"", b""]) == 8578898


@pytest.mark.parametrize(
    ("key", "buckets"),
    [
        (0, [0, 0, 0, 4, 807, 892565]),
        (1, [0, 0, 2, 3, 856, 532457]),
        (7, [0, 0, 2, 8, 197, 588800]),
        (-3, [0, 1, 1, 4, 351, 553068]),
        (123456789, [0, 1, 1, 5, 584, 798190]),
        (1 << 62, [0, 0, 0, 4, 807, 892565]),
        (hash_binary(b"customer-7"), [0, 1, 1, 5, 150, 794974]),
        (HASHES[None], [0, 1, 1, 1, 491, 242831]),
    ],
)
def test_buckets_are_those_of_rabbitmq(key: int, buckets: list[int]) -> None:
    """What RabbitMQ's jump_consistent_hash/2 returns with 1, 2, 3, 10, 1000 and 1000000 buckets."""
    assert [jump_consistent_hash(key, count) for count in (1, 2, 3, 10, 1000, 1_000_000)] == buckets


@given(st.integers(-(2**63), 2**64 - 1), st.integers(1, BUCKETS_MAX), st.integers(0, 1000))
def test_a_key_moves_only_to_new_buckets(key: int, count: int, more: int) -> None:
    before, after = jump_consistent_hash(key, count), jump_consistent_hash(key, count + more)
    assert 0 <= before < count
    assert after == before or count <= after < count + more


def test_a_consistent_hash_exchange_without_bindings_leads_nowhere() -> None:
    assert not list(exchange_of("x-consistent-hash").type.route(("k",), ANY_MESSAGE))


def test_each_message_goes_to_one_destination_as_often_as_its_weight_says() -> None:
    counts = Counter(by_key(consistent({"one": 1, "three": 3})).values())
    assert counts.total() == len(KEYS)
    assert 0.2 < counts["one"] / len(KEYS) < 0.3


def test_a_destination_that_comes_takes_keys_but_moves_none_between_the_others() -> None:
    before, after = by_key(consistent({"1": 5, "2": 5, "3": 5})), by_key(consistent({"1": 5, "2": 5, "3": 5, "4": 5}))
    moved = {key for key in KEYS if before[key] != after[key]}
    assert {after[key] for key in moved} == {"4"}
    assert 0.2 < len(moved) / len(KEYS) < 0.3


def test_a_destination_that_goes_leaves_no_gap() -> None:
    exchange = consistent({"1": 2, "2": 3})
    queue = Queue("3")
    before = by_key(exchange)
    exchange.bind(Binding(exchange, queue, "4"))
    assert by_key(exchange) != before
    exchange.unbind(Binding(exchange, queue, "4"))
    assert by_key(exchange) == before


def test_the_oldest_binding_of_a_destination_is_its_weight() -> None:
    exchange = consistent({"1": 1})
    queue = Queue("2")
    exchange.bind(Binding(exchange, queue, "1"))
    even = by_key(exchange)
    exchange.bind(Binding(exchange, queue, "50"))
    assert by_key(exchange) == even
    exchange.unbind(Binding(exchange, queue, "1"))
    assert Counter(by_key(exchange).values())["2"] > 0.9 * len(KEYS)
    exchange.unbind(Binding(exchange, queue, "50"))
    assert set(by_key(exchange).values()) == {"1"}


def test_of_several_routing_keys_the_first_one_decides() -> None:
    exchange = consistent({str(number): 1 for number in range(10)})
    for key in KEYS[:20]:
        assert destination(exchange, ANY_MESSAGE, key, "other") is destination(exchange, ANY_MESSAGE, key)


@pytest.mark.parametrize(
    ("arguments", "properties"),
    [
        ({"hash-header": "h"}, [{"headers": {"h": number}} for number in range(50)]),
        ({"hash-header": "h"}, [{"headers": {"h": f"v{number}"}} for number in range(50)]),
        ({"hash-header": "h"}, [{"headers": {"h": [number, {"a": None}]}} for number in range(50)]),
        ({"hash-header": "h"}, [{"headers": {"h": Timestamp(number)}} for number in range(50)]),
        ({"hash-header": "h"}, [{"headers": {"h": number / 7}} for number in range(50)]),
        ({"hash-property": "message_id"}, [{"message_id": str(number)} for number in range(50)]),
        ({"hash-property": "correlation_id"}, [{"correlation_id": str(number)} for number in range(50)]),
        ({"hash-property": "timestamp"}, [{"timestamp": Timestamp(number)} for number in range(50)]),
    ],
)
def test_a_header_or_property_can_be_the_key(arguments: dict[str, object], properties: list[dict[str, Any]]) -> None:
    exchange = consistent({str(number): 1 for number in range(10)}, arguments)
    assert exchange.type.depends_on_message
    messages = [MessageView(published(**each)) for each in properties]
    found = [destination(exchange, message, "k") for message in messages]
    assert found == [destination(exchange, message, "another key") for message in messages]
    assert len(set(found)) > 5
    without = {destination(exchange, MessageView(published()), key) for key in KEYS[:20]}
    assert len(without) == 1, "messages without it have one key in common"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"hash-property": "app_id"}, "Unsupported property: app_id"),
        (
            {"hash-header": "h", "hash-property": "message_id"},
            "hash-header and hash-property are mutually exclusive",
        ),
        ({"hash-header": 1}, "hash-header must be of type longstr, not signedint"),
        ({"hash-property": None}, "hash-property must be of type longstr, not void"),
    ],
)
def test_invalid_arguments_of_a_consistent_hash_exchange(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidDefinitionError) as refused:
        exchange_of("x-consistent-hash", arguments)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("", "The binding key must be an integer: <<>>"),
        ("many", 'The binding key must be an integer: <<"many">>'),
        ("1.5", 'The binding key must be an integer: <<"1.5">>'),
        (" 1", 'The binding key must be an integer: <<" 1">>'),
        ("1_0", 'The binding key must be an integer: <<"1_0">>'),
        ("٣", 'The binding key must be an integer: <<"٣"/utf8>>'),
        ("0", "The binding key must be greater than 0"),
        ("-1", "The binding key must be greater than 0"),
        ("10001", "The binding key must not exceed 10000"),
    ],
)
def test_a_binding_key_that_is_no_weight(key: str, text: str) -> None:
    exchange = exchange_of("x-consistent-hash")
    with pytest.raises(InvalidDefinitionError) as refused:
        exchange.bind(Binding(exchange, Queue("q"), key))
    assert str(refused.value) == text
    assert exchange.bind(Binding(exchange, Queue("q"), "+7"))


def test_the_number_of_buckets_is_bounded() -> None:
    exchange = exchange_of("x-consistent-hash")
    bindings = [Binding(exchange, Queue(str(number)), str(WEIGHT_MAX)) for number in range(BUCKETS_MAX // WEIGHT_MAX)]
    for binding in bindings:
        exchange.bind(binding)
    with pytest.raises(InvalidDefinitionError, match=f"must not exceed {BUCKETS_MAX} in total"):
        exchange.bind(Binding(exchange, Queue("one more"), "1"))
    assert not exchange.bind(bindings[0]), "it is there already"
    exchange.unbind(bindings[0])
    assert exchange.bind(Binding(exchange, Queue("one more"), "1"))


def test_a_modulus_hash_exchange_spreads_keys_evenly_and_keeps_each_where_it_is() -> None:
    exchange = exchange_of("x-modulus-hash")
    assert not list(exchange.type.route(("k",), ANY_MESSAGE))
    for name in "cab":
        exchange.bind(Binding(exchange, Queue(name), "ignored"))
    found = by_key(exchange)
    assert found == by_key(exchange)
    assert all(0.28 < count / len(KEYS) < 0.39 for count in Counter(found.values()).values())
    again = exchange_of("x-modulus-hash")
    for name in "bca":
        again.bind(Binding(again, Queue(name), ""))
    assert by_key(again) == found, "the order of the bindings makes no difference"
    queue = Queue("d")
    again.bind(Binding(again, queue, ""))
    assert by_key(again) != found
    again.unbind(Binding(again, queue, ""))
    assert by_key(again) == found


def test_a_modulus_hash_exchange_hashes_all_routing_keys_together() -> None:
    exchange = exchange_of("x-modulus-hash")
    for number in range(10):
        exchange.bind(Binding(exchange, Queue(str(number)), ""))
    assert len({destination(exchange, ANY_MESSAGE, "k", key) for key in KEYS[:50]}) > 5


def test_exchanges_come_before_queues() -> None:
    exchange, other = exchange_of("x-modulus-hash"), exchange_of("fanout", name="z")
    exchange.bind(Binding(exchange, Queue("a"), ""))
    exchange.bind(Binding(exchange, other, ""))
    assert set(by_key(exchange).values()) == {"a", "z"}
