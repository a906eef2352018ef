"""Delayed messages, retries with back-off, and deduplication: what RabbitMQ needs plugins or programs for."""

import itertools
import time
from typing import Any

import pytest
from pamqp.commands import Basic, Confirm, Exchange

from tests.conftest import StartBroker
from tests.support.raw_client import RawChannel
from tests.support.waiting import until

pytestmark = pytest.mark.haypile_only

EARLY_MAX_S = 0.002
LATE_MAX_S = 0.25  # the tests share the machine; docs/performance.md says how exact it is on an idle one


def delayed(delay_ms: int, **properties: Any) -> Basic.Properties:
    return Basic.Properties(headers={"x-delay": delay_ms}, **properties)


def confirm(channel: RawChannel, last: int) -> None:
    until(lambda: channel.expect(Basic.Ack).delivery_tag >= last)


def test_messages_of_a_delayed_queue_come_when_they_are_due(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, arguments={"x-delayed": True})
    channel.consume(name, no_ack=True)
    start = time.time()
    for delay in (300, 100, 200, 0):
        channel.publish(str(delay).encode(), name, properties=delayed(delay))
    for expected in (0, 100, 200, 300):
        assert channel.deliver().body == str(expected).encode()
        passed = time.time() - start
        assert expected / 1000 - EARLY_MAX_S <= passed <= expected / 1000 + LATE_MAX_S


def test_an_absolute_time_can_be_given(channel: RawChannel, name: str) -> None:
    channel.declare_queue(name, exclusive=True, arguments={"x-delayed": True})
    at_ms = int(time.time() * 1000) + 150
    channel.publish(b"1", name, properties=Basic.Properties(headers={"x-deliver-at": at_ms}))
    assert channel.bodies(name) == []
    channel.consume(name, no_ack=True)
    channel.deliver()
    assert time.time() * 1000 >= at_ms - 2


def test_a_delayed_exchange_routes_when_the_time_has_come(channel: RawChannel, names: Any) -> None:
    exchange, queue = next(names), next(names)
    arguments = {"x-delayed-type": "topic"}
    channel.call(Exchange.Declare(exchange=exchange, exchange_type="x-delayed-message", arguments=arguments))
    channel.declare_queue(queue, exclusive=True)
    channel.publish(b"later", "a.b", exchange, properties=delayed(100, message_id="m"))
    channel.publish(b"dropped", "a.b", exchange)
    channel.bind(queue, exchange, "a.*")
    channel.publish(b"now", "a.b", exchange)
    channel.consume(queue, no_ack=True)
    assert channel.deliver().body == b"now"
    message = channel.deliver()
    assert (message.body, message.method.exchange, message.method.routing_key) == (b"later", exchange, "a.b")
    assert message.properties.headers == {"x-delay": -100}
    assert message.properties.message_id == "m"
    channel.call(Exchange.Delete(exchange=exchange))


def test_a_delayed_exchange_needs_a_type(channel: RawChannel, name: str) -> None:
    channel.refused(
        Exchange.Declare(exchange=name, exchange_type="x-delayed-message"),
        406,
        "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type",
    )


def test_what_is_delayed_survives_a_crash(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = broker.connect().open().channel(1)
    arguments = {"x-delayed-type": "direct"}
    channel.call(Exchange.Declare(exchange="x", exchange_type="x-delayed-message", durable=True, arguments=arguments))
    channel.declare_queue("q", durable=True)
    channel.declare_queue("d", durable=True, arguments={"x-delayed": True})
    channel.bind("q", "x", "k")
    channel.call(Confirm.Select())
    start = time.time()
    channel.publish(b"exchange", "k", "x", properties=delayed(1500, delivery_mode=2))
    channel.publish(b"queue", "d", properties=delayed(1500, delivery_mode=2))
    confirm(channel, 2)
    broker.kill()
    broker.start()
    channel = broker.connect().open().channel(1)
    channel.consume("q", no_ack=True)
    channel.consume("d", no_ack=True)
    assert sorted(channel.deliver_many(2)) == [b"exchange", b"queue"]
    assert time.time() - start >= 1.5 - EARLY_MAX_S
    # The answer to a durable declaration says that all that was before is on disk.
    channel.declare_queue("marker", durable=True)
    broker.kill()
    broker.start()
    channel = broker.connect().open().channel(1)
    assert channel.bodies("q") == []
    assert channel.bodies("d") == []


def test_what_comes_back_waits_longer_each_time(channel: RawChannel, name: str) -> None:
    arguments = {"x-redelivery-delay": 60, "x-redelivery-delay-multiplier": 2, "x-redelivery-delay-max": 200}
    channel.declare_queue(name, exclusive=True, arguments=arguments)
    channel.consume(name)
    channel.publish(b"retried", name)
    times = []
    for count in range(5):
        message = channel.deliver()
        times.append(time.time())
        assert (message.properties.headers or {}).get("x-delivery-count", 0) == count
        if count == 0:
            # Those behind it do not wait for it.
            channel.publish(b"other", name)
        channel.send(Basic.Nack(delivery_tag=message.method.delivery_tag, requeue=True))
        if count == 0:
            other = channel.deliver()
            assert other.body == b"other"
            channel.send(Basic.Ack(other.method.delivery_tag))
    waits = [after - before for before, after in itertools.pairwise(times)]
    for wait, expected in zip(waits, (0.06, 0.12, 0.2, 0.2), strict=True):
        assert expected - EARLY_MAX_S <= wait <= expected + LATE_MAX_S


def test_a_whole_retry_topology_in_four_arguments(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = broker.connect().open().channel(1)
    channel.declare_queue("dead", durable=True)
    arguments = {
        "x-redelivery-delay": 30,
        "x-delivery-limit": 3,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
    }
    channel.declare_queue("q", durable=True, arguments=arguments)
    channel.call(Confirm.Select())
    channel.publish(b"1", "q", properties=Basic.Properties(delivery_mode=2))
    confirm(channel, 1)
    for count in range(4):
        channel.consume("q", "c")
        message = channel.deliver()
        assert message.method.redelivered == (count > 0)
        assert (message.properties.headers or {}).get("x-delivery-count", 0) == count
        if count == 1:
            # The count is not lost with the broker.
            channel.send(Basic.Nack(delivery_tag=message.method.delivery_tag, requeue=True))
            channel.expect_silence()
            channel.declare_queue("marker", durable=True)
            broker.kill()
            broker.start()
            channel = broker.connect().open().channel(1)
        else:
            channel.close()
            channel = channel.client.channel(1)
    until(lambda: channel.counts("dead")[0] == 1)
    message = channel.get("dead")  # type: ignore[assignment]
    assert message.properties.headers["x-death"][0]["reason"] == "delivery_limit"
    assert channel.counts("q")[0] == 0


def test_duplicates_are_confirmed_and_dropped(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = broker.connect().open().channel(1)
    channel.declare_queue("q", durable=True, arguments={"x-deduplication": True})
    channel.call(
        Exchange.Declare(
            exchange="x", durable=True, arguments={"x-deduplication": True, "x-deduplication-header": "key"}
        )
    )
    channel.declare_queue("behind", durable=True)
    channel.bind("behind", "x", "k")
    channel.call(Confirm.Select())
    for number, message_id in enumerate(["a", "b", "a", None, None]):
        properties = Basic.Properties(message_id=message_id, delivery_mode=2)
        channel.publish(str(number).encode(), "q", properties=properties)
    for number, key in enumerate([1, 2, 1]):
        properties = Basic.Properties(headers={"key": key}, delivery_mode=2)
        channel.publish(str(number).encode(), "k", "x", properties=properties)
    channel.publish(b"transient", "q", properties=Basic.Properties(message_id="t"))
    confirm(channel, 9)
    broker.kill()
    broker.start()
    channel = broker.connect().open().channel(1)
    channel.publish(b"taken", "q", properties=Basic.Properties(message_id="t"))
    channel.publish(b"again", "q", properties=Basic.Properties(message_id="b"))
    channel.publish(b"again", "k", "x", properties=Basic.Properties(headers={"key": 2}))
    assert channel.bodies("q") == [b"0", b"1", b"3", b"4", b"taken"]
    assert channel.bodies("behind") == [b"0", b"1"]


def test_deduplication_forgets_by_count_and_by_time(channel: RawChannel, names: Any) -> None:
    by_count, by_time = next(names), next(names)
    channel.declare_queue(by_count, exclusive=True, arguments={"x-deduplication": True, "x-deduplication-count": 2})
    channel.declare_queue(by_time, exclusive=True, arguments={"x-deduplication": True, "x-deduplication-window": 50})
    for body in (b"a", b"b", b"c", b"a", b"c"):
        channel.publish(body, by_count, properties=Basic.Properties(message_id=body.decode()))
    assert channel.bodies(by_count) == [b"a", b"b", b"c", b"a"]
    channel.publish(b"1", by_time, properties=Basic.Properties(message_id="m"))
    deadline = time.monotonic() + 0.06
    until(lambda: time.monotonic() > deadline)
    channel.publish(b"2", by_time, properties=Basic.Properties(message_id="m"))
    assert channel.bodies(by_time) == [b"1", b"2"]


def test_a_dead_letter_that_comes_back_is_no_duplicate_of_itself(channel: RawChannel, name: str) -> None:
    arguments = {
        "x-deduplication": True,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{name}-wait",
    }
    channel.declare_queue(name, exclusive=True, arguments=arguments)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name, "x-message-ttl": 10}
    channel.declare_queue(f"{name}-wait", exclusive=True, arguments=arguments)
    channel.consume(name)
    channel.publish(b"1", name, properties=Basic.Properties(message_id="m"))
    for _ in range(3):
        channel.send(Basic.Reject(delivery_tag=channel.deliver().method.delivery_tag, requeue=False))
    channel.publish(b"2", name, properties=Basic.Properties(message_id="m"))
    assert channel.deliver().body == b"1"


def test_a_delay_that_grows_without_end_is_the_longest(channel: RawChannel, name: str) -> None:
    arguments = {"x-redelivery-delay": 1, "x-redelivery-delay-multiplier": 10**18, "x-redelivery-delay-max": 1}
    channel.declare_queue(name, exclusive=True, arguments=arguments)
    channel.consume(name)
    channel.publish(b"1", name)
    for _ in range(30):
        channel.send(Basic.Nack(delivery_tag=channel.deliver().method.delivery_tag, requeue=True))
