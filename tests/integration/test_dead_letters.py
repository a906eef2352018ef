"""Dead-lettering: who dies where, what the headers tell of it, and how a message survives it."""

import datetime
import decimal
import itertools
from typing import Any

import pytest
from pamqp.commands import Basic, Confirm, Exchange

from tests.conftest import StartBroker
from tests.support.raw_client import RawChannel
from tests.support.waiting import until


def dead_lettered(channel: RawChannel, name: str, **arguments: Any) -> str:
    """Declare a queue whose dead letters go to a queue of the same name with "-dead" behind it."""
    dead = channel.declare_queue(f"{name}-dead", exclusive=True)
    channel.declare_queue(
        name,
        exclusive=True,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, **arguments},
    )
    return dead


def headers_of(channel: RawChannel, queue: str) -> dict[str, Any]:
    """Wait for a message and return its headers."""
    until(lambda: channel.counts(queue)[0] > 0)
    message = channel.get(queue)
    assert message is not None
    return dict(message.properties.headers or {})


def without_time(death: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(death["time"], datetime.datetime)
    return {name: value for name, value in death.items() if name != "time"}


def test_a_rejected_message_tells_its_story(channel: RawChannel, name: str) -> None:
    dead = dead_lettered(channel, name)
    channel.publish(b"1", name, properties=Basic.Properties(headers={"mine": 1}))
    message = channel.get(name, no_ack=False)
    assert message is not None
    channel.send(Basic.Reject(delivery_tag=message.method.delivery_tag, requeue=False))
    headers = headers_of(channel, dead)
    (death,) = headers.pop("x-death")
    assert without_time(death) == {
        "count": 1,
        "reason": "rejected",
        "queue": name,
        "exchange": "",
        "routing-keys": [name],
    }
    expected = {"mine": 1}
    for when in ("first", "last"):
        expected |= {
            f"x-{when}-death-reason": "rejected",
            f"x-{when}-death-queue": name,
            f"x-{when}-death-exchange": "",
        }
    assert {key: value for key, value in headers.items() if not key.startswith("x-last")} == {
        key: value for key, value in expected.items() if not key.startswith("x-last")
    }


def test_an_expired_message_loses_its_expiration_and_remembers_it(channel: RawChannel, name: str) -> None:
    dead = dead_lettered(channel, name)
    channel.publish(b"1", name, properties=Basic.Properties(expiration="20"))
    until(lambda: channel.counts(dead)[0] == 1)
    message = channel.get(dead)
    assert message is not None
    assert message.properties.expiration is None
    (death,) = message.properties.headers["x-death"]
    assert (death["reason"], death["original-expiration"]) == ("expired", "20")


def test_what_is_too_much_leaves_at_the_head(channel: RawChannel, name: str) -> None:
    dead = dead_lettered(channel, name, **{"x-max-length": 2})
    for number in range(4):
        channel.publish(str(number).encode(), name)
    assert channel.bodies(name) == [b"2", b"3"]
    until(lambda: channel.counts(dead)[0] == 2)
    assert channel.get(dead).properties.headers["x-death"][0]["reason"] == "maxlen"  # type: ignore[union-attr]


def test_deaths_in_one_queue_for_one_reason_are_counted_together(channel: RawChannel, name: str) -> None:
    dead_lettered(channel, name)
    channel.declare_queue(
        f"{name}-b", exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name}
    )
    channel.publish(b"1", f"{name}-b")
    for _ in range(3):
        message = None
        while message is None:
            message = channel.get(f"{name}-b", no_ack=False)
        channel.send(Basic.Reject(delivery_tag=message.method.delivery_tag, requeue=False))
        message = None
        while message is None:
            message = channel.get(name, no_ack=False)
        # Back to where it came from, with all its headers, as RabbitMQ before version 4 would count on.
        deaths = message.properties.headers["x-death"]
        channel.send(Basic.Ack(message.method.delivery_tag))
        assert [death["count"] for death in deaths] == [1]
        channel.publish(b"1", f"{name}-b")


def test_an_automatic_cycle_ends(channel: RawChannel, name: str) -> None:
    channel.declare_queue(
        name,
        exclusive=True,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name, "x-message-ttl": 10},
    )
    channel.publish(b"1", name)
    until(lambda: channel.counts(name)[0] == 0)
    channel.expect_silence()
    assert channel.counts(name)[0] == 0


def test_a_chain_of_ten_queues_keeps_every_type(channel: RawChannel, name: str) -> None:
    headers = {
        "text": "x",
        "bool": True,
        "int": 5,
        "long": 1 << 40,
        "double": 1.5,
        "decimal": decimal.Decimal("1.25"),
        "time": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        "void": None,
        "table": {"a": [1, "b", {"c": None}]},
        "array": [1, True, "x"],
    }
    stations = [f"{name}-{number}" for number in range(11)]
    channel.declare_queue(stations[-1], exclusive=True)
    for station, following in itertools.pairwise(stations):
        channel.declare_queue(
            station,
            exclusive=True,
            arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": following, "x-message-ttl": 1},
        )
    channel.publish(b"1", stations[0], properties=Basic.Properties(headers=headers, priority=3, message_id="m"))
    until(lambda: channel.counts(stations[-1])[0] == 1)
    message = channel.get(stations[-1])
    assert message is not None
    assert {key: message.properties.headers[key] for key in headers} == headers
    assert (message.properties.priority, message.properties.message_id) == (3, "m")
    deaths = message.properties.headers["x-death"]
    assert [death["queue"] for death in deaths] == stations[-2::-1]
    assert {death["count"] for death in deaths} == {1}


def test_without_a_routing_key_the_old_ones_lead_on(channel: RawChannel, name: str) -> None:
    channel.call(Exchange.Declare(exchange=f"{name}-x", exchange_type="direct", auto_delete=True))
    targets = {}
    for key in ("k", "cc", "bcc"):
        targets[key] = channel.declare_queue(f"{name}-{key}", exclusive=True)
        channel.bind(targets[key], f"{name}-x", key)
    channel.call(Exchange.Declare(exchange=f"{name}-in", exchange_type="fanout", auto_delete=True))
    channel.declare_queue(name, exclusive=True, arguments={"x-dead-letter-exchange": f"{name}-x", "x-message-ttl": 5})
    channel.bind(name, f"{name}-in", "")
    properties = Basic.Properties(headers={"CC": ["cc"], "BCC": ["bcc"], "z": 1})
    channel.publish(b"1", "k", f"{name}-in", properties=properties)
    for queue in targets.values():
        headers = headers_of(channel, queue)
        assert headers["x-death"][0]["routing-keys"] == ["k", "cc"]
        assert headers["CC"] == ["cc"]
        assert not [key for key in headers if key == "BCC" or key.startswith("x-haypile")]


def test_the_missing_exchange_swallows_dead_letters(channel: RawChannel, name: str) -> None:
    arguments = {"x-dead-letter-exchange": f"{name}-none", "x-max-length": 1}
    channel.declare_queue(name, exclusive=True, arguments=arguments)
    channel.publish(b"1", name)
    channel.publish(b"2", name)
    assert channel.bodies(name) == [b"2"]


@pytest.mark.haypile_only
def test_a_message_that_comes_back_too_often_dies(channel: RawChannel, name: str) -> None:
    dead = dead_lettered(channel, name, **{"x-delivery-limit": 2})
    channel.publish(b"1", name)
    for count in range(3):
        message = channel.get(name, no_ack=False)
        assert message is not None
        assert (message.properties.headers or {}).get("x-delivery-count", 0) == count
        channel.send(Basic.Nack(delivery_tag=message.method.delivery_tag, requeue=True))
    headers = headers_of(channel, dead)
    assert headers["x-death"][0]["reason"] == "delivery_limit"


def test_dead_letters_survive_a_crash_once(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = broker.connect().open().channel(1)
    channel.declare_queue("dead", durable=True)
    channel.declare_queue(
        "q",
        durable=True,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", "x-message-ttl": 20},
    )
    channel.call(Confirm.Select())
    for number in range(50):
        channel.publish(str(number).encode(), "q", properties=Basic.Properties(delivery_mode=2))
    until(lambda: channel.client.receive(1).method.delivery_tag == 50)
    broker.kill()
    broker.start()
    channel = broker.connect().open().channel(1)
    until(lambda: channel.counts("dead")[0] == 50)
    assert channel.counts("q")[0] == 0
    assert channel.bodies("dead") == [str(number).encode() for number in range(50)]


@pytest.mark.haypile_only
def test_a_header_as_large_as_it_may_be_survives_a_headers_exchange(channel: RawChannel, name: str) -> None:
    channel.call(Exchange.Declare(exchange=f"{name}-x", exchange_type="headers", auto_delete=True))
    dead = channel.declare_queue(f"{name}-dead", exclusive=True)
    channel.bind(dead, f"{name}-x", "", {"x-match": "all"})
    channel.declare_queue(name, exclusive=True, arguments={"x-dead-letter-exchange": f"{name}-x", "x-message-ttl": 5})
    channel.publish(b"1", name, properties=Basic.Properties(headers={"many": [None] * 65_530}))
    until(lambda: channel.counts(dead)[0] == 1)


@pytest.mark.haypile_only
def test_routing_keys_have_a_limit(channel: RawChannel, name: str) -> None:
    channel.publish(b"1", name, properties=Basic.Properties(headers={"CC": ["k"] * 1000, "BCC": ["k"] * 25}))
    channel.expect_channel_close(
        406, "PRECONDITION_FAILED - invalid message: 1025 routing keys in CC and BCC, at most 1024", Basic.Publish
    )
