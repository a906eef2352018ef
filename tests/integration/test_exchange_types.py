"""The exchange types that RabbitMQ has beyond the specification."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pamqp.commands import Basic, Exchange, Queue

from tests.conftest import StartBroker
from tests.support.raw_client import RawChannel

pytestmark = pytest.mark.haypile_only  # RabbitMQ needs its plugins for them, and version 4 for some of it


def declare(name: str, kind: str, arguments: dict[str, Any] | None = None, durable: bool = False) -> Exchange.Declare:
    return Exchange.Declare(exchange=name, exchange_type=kind, durable=durable, arguments=arguments)


def publish_many(channel: RawChannel, exchange: str, count: int = 200) -> None:
    for number in range(count):
        properties = Basic.Properties(headers={"id": number % 10}, message_id=str(number % 10))
        channel.publish(str(number % 10).encode(), str(number % 10), exchange, properties)


@pytest.fixture
def queues(channel: RawChannel, names: Iterator[str]) -> list[str]:
    return [channel.declare_queue(next(names), exclusive=True) for _ in range(3)]


@pytest.mark.parametrize(
    "arguments", [{}, {"hash-header": "id"}, {"hash-property": "message_id"}], ids=["key", "header", "property"]
)
def test_a_consistent_hash_keeps_equal_keys_together(
    channel: RawChannel, name: str, queues: list[str], arguments: dict[str, Any]
) -> None:
    channel.call(declare(name, "x-consistent-hash", arguments))
    for queue in queues:
        channel.bind(queue, name, "10")
    publish_many(channel, name)
    bodies = [channel.bodies(queue) for queue in queues]
    assert sum(map(len, bodies)) == 200
    kinds = [set(found) for found in bodies]
    assert all(kinds)
    assert sum(map(len, kinds)) == 10, "no key is in two queues"
    channel.call(Exchange.Delete(exchange=name))


def test_a_consistent_hash_routes_as_before_after_a_restart(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = broker.connect().open().channel()
    channel.call(declare("x", "x-consistent-hash", durable=True))
    for queue, weight in (("c", "3"), ("a", "1"), ("b", "2")):
        channel.declare_queue(queue, durable=True)
        channel.bind(queue, "x", weight)
    publish_many(channel, "x")
    before = {queue: Counter(channel.bodies(queue)) for queue in "abc"}
    assert sum(len(found) for found in before.values()) == 10
    for _ in range(2):
        broker.terminate()
        broker.start()
        channel = broker.connect().open().channel()
        publish_many(channel, "x")
        assert {queue: Counter(channel.bodies(queue)) for queue in "abc"} == before


def test_what_a_consistent_hash_refuses(channel: RawChannel, name: str, queue: str) -> None:
    wrong = declare(name, "x-consistent-hash", {"hash-property": "app_id"})
    channel = channel.refused(wrong, 406, "PRECONDITION_FAILED - Unsupported property: app_id")
    channel.call(declare(name, "x-consistent-hash"))
    for key, reason in (
        ("many", 'The binding key must be an integer: <<"many">>'),
        ("0", "The binding key must be greater than 0"),
        ("10001", "The binding key must not exceed 10000"),
    ):
        method = Queue.Bind(queue=queue, exchange=name, routing_key=key)
        channel = channel.refused(method, 406, f"PRECONDITION_FAILED - {reason}")
    channel.call(Exchange.Delete(exchange=name))


def test_a_modulus_hash_keeps_equal_keys_together(channel: RawChannel, name: str, queues: list[str]) -> None:
    channel.call(declare(name, "x-modulus-hash"))
    for queue in queues:
        channel.bind(queue, name)
    publish_many(channel, name)
    kinds = [set(channel.bodies(queue)) for queue in queues]
    assert sum(map(len, kinds)) == 10
    channel.call(Exchange.Delete(exchange=name))


@pytest.mark.parametrize("kind", ["x-random", "x-local-random"])
def test_a_random_exchange_gives_each_message_to_one_queue(
    channel: RawChannel, name: str, queues: list[str], kind: str
) -> None:
    channel.call(declare(name, kind))
    for queue in queues:
        channel.bind(queue, name)
    publish_many(channel, name)
    counts = [len(channel.bodies(queue)) for queue in queues]
    assert sum(counts) == 200
    assert all(counts), "each of them is left out once in 10 ** 35 runs"
    channel.call(Exchange.Delete(exchange=name))


def test_a_local_random_exchange_takes_queues_under_the_empty_key(channel: RawChannel, name: str, queue: str) -> None:
    channel.call(declare(name, "x-local-random"))
    method = Queue.Bind(queue=queue, exchange=name, routing_key="k")
    channel = channel.refused(method, 406, "PRECONDITION_FAILED - Non empty binding 'k' key not permitted")
    channel.call(Exchange.Delete(exchange=name))


def test_a_queue_that_is_bound_gets_the_recent_history(channel: RawChannel, name: str, queues: list[str]) -> None:
    channel.call(declare(name, "x-recent-history", {"x-recent-history-length": 3}))
    channel.bind(queues[0], name)
    for number in range(5):
        channel.publish(str(number).encode(), f"key-{number}", name, Basic.Properties(headers={"a": number}))
    channel.publish(b"secret", "", name, Basic.Properties(headers={"x-recent-history-no-store": True}))
    assert channel.bodies(queues[0]) == [b"0", b"1", b"2", b"3", b"4", b"secret"]
    channel.bind(queues[1], name)
    channel.bind(queues[1], name)
    late = [channel.get(queues[1]) for _ in range(4)]
    assert [message and message.body for message in late] == [b"2", b"3", b"4", None]
    first = late[0]
    assert first is not None
    assert (first.method.exchange, first.method.routing_key) == (name, "key-2")
    assert first.properties.headers == {"a": 2}
    assert not first.method.redelivered
    channel.publish(b"new", "", name)
    assert [channel.bodies(queue) for queue in queues[:2]] == [[b"new"], [b"new"]]
    channel.call(Exchange.Delete(exchange=name))


def test_the_recent_history_passes_an_exchange_that_is_bound(
    channel: RawChannel, names: Iterator[str], queues: list[str]
) -> None:
    history, topic = next(names), next(names)
    channel.call(declare(history, "x-recent-history"))
    channel.call(declare(topic, "topic"))
    channel.bind(queues[0], topic, "a.*")
    for key in ("a.b", "b.c", "a.c"):
        channel.publish(key.encode(), key, history)
    channel.call(Exchange.Bind(destination=topic, source=history))
    assert channel.bodies(queues[0]) == [b"a.b", b"a.c"]
    for exchange in (history, topic):
        channel.call(Exchange.Delete(exchange=exchange))


def test_a_consumer_gets_the_recent_history_at_once(channel: RawChannel, name: str, queue: str) -> None:
    channel.call(declare(name, "x-recent-history"))
    channel.publish(b"past", "", name)
    channel.consume(queue, no_ack=True)
    channel.bind(queue, name)
    assert channel.deliver().body == b"past"
    channel.call(Exchange.Delete(exchange=name))


def test_history_in_a_durable_queue_outlives_the_broker_but_the_exchange_forgets(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = broker.connect().open().channel()
    channel.call(declare("x", "x-recent-history", durable=True))
    for queue in ("first", "second"):
        channel.declare_queue(queue, durable=True)
    channel.publish(b"kept", "", "x", Basic.Properties(delivery_mode=2))
    channel.publish(b"transient", "", "x")
    channel.bind("first", "x")
    broker.kill()
    broker.start()
    channel = broker.connect().open().channel()
    channel.bind("second", "x")
    assert channel.bodies("first") == [b"kept"]
    assert channel.bodies("second") == []


def test_a_wrong_length_of_the_history(channel: RawChannel, name: str) -> None:
    text = "PRECONDITION_FAILED - Invalid argument 0, 'x-recent-history-length' must be a positive integer"
    channel.refused(declare(name, "x-recent-history", {"x-recent-history-length": 0}), 406, text)
