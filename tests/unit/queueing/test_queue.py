"""Single stories of queues: what the model of all of them is too coarse for, or has found."""

from typing import Any

import pytest
from pamqp.commands import Basic, Confirm, Exchange, Queue

from broker.policy import validate_policy
from broker.timers import ENTRIES_GONE_MAX
from tests.support.in_process import InProcessBroker
from tests.support.raw_client import RawChannel

PERSISTENT = Basic.Properties(delivery_mode=2)


def put_policy(broker: InProcessBroker, name: str, **definition: Any) -> None:
    broker.vhost.put_policy(validate_policy(name, "^q", definition))
    broker.settle()


def keyed(key: str) -> Basic.Properties:
    return Basic.Properties(headers={"key": key})


def test_a_delayed_message_that_fell_due_while_the_broker_was_down_arrives(
    broker: InProcessBroker, channel: RawChannel
) -> None:
    channel.call(
        Exchange.Declare(
            exchange="later",
            exchange_type="x-delayed-message",
            durable=True,
            arguments={"x-delayed-type": "fanout"},
        )
    )
    channel.declare_queue("q", durable=True)
    channel.bind("q", "later")
    channel.publish(b"m", exchange="later", properties=Basic.Properties(delivery_mode=2, headers={"x-delay": 1000}))
    broker.settle()
    broker.crash()
    broker.pass_clock(2000)
    broker.start()
    assert broker.connect().channel(1).bodies("q") == [b"m"]


def test_a_time_to_live_that_comes_while_a_message_is_out_counts_from_its_return(
    broker: InProcessBroker, channel: RawChannel
) -> None:
    channel.declare_queue("q")
    channel.publish(b"m", "q")
    message = channel.get("q", no_ack=False)
    assert message is not None
    put_policy(broker, "p", **{"message-ttl": 1000})
    channel.send(Basic.Nack(delivery_tag=message.method.delivery_tag))
    broker.pass_time(999)
    assert channel.counts("q")[0] == 1
    broker.pass_time(1)
    assert channel.counts("q")[0] == 0


def test_what_waited_for_its_group_is_delivered_when_the_groups_go(
    broker: InProcessBroker, channel: RawChannel
) -> None:
    channel.declare_queue("q")
    put_policy(broker, "p", **{"group-header": "key"})
    channel.consume("q")
    for body in (b"1", b"2"):
        channel.publish(body, "q", properties=keyed("k"))
    assert channel.deliver().body == b"1"
    channel.expect_silence()
    broker.vhost.delete_policy("p")
    assert channel.deliver().body == b"2"


def test_consumers_take_turns_at_a_queue_with_groups(broker: InProcessBroker, channel: RawChannel) -> None:
    channel.declare_queue("q", arguments={"x-group-header": "key"})
    for tag in ("a", "b"):
        channel.consume("q", tag)
    takers = []
    for number in range(4):
        channel.publish(b"", "q", properties=keyed(str(number)))
        takers.append(channel.deliver().method.consumer_tag)
    assert sorted(takers) == ["a", "a", "b", "b"]


def test_a_message_settled_that_left_before_there_were_groups_frees_no_group(
    broker: InProcessBroker, channel: RawChannel
) -> None:
    channel.declare_queue("q")
    channel.consume("q")
    channel.publish(b"1", "q", properties=keyed("k"))
    first = channel.deliver()
    put_policy(broker, "p", **{"group-header": "key"})
    channel.publish(b"2", "q", properties=keyed("k"))
    second = channel.deliver()
    channel.publish(b"3", "q", properties=keyed("k"))
    channel.send(Basic.Ack(delivery_tag=first.method.delivery_tag))
    channel.expect_silence()
    channel.send(Basic.Ack(delivery_tag=second.method.delivery_tag))
    assert channel.deliver().body == b"3"


def test_a_limit_holds_although_what_is_there_waits_for_its_group(broker: InProcessBroker, channel: RawChannel) -> None:
    channel.declare_queue("dead")
    channel.declare_queue(
        "q",
        arguments={
            "x-group-header": "key",
            "x-max-length": 2,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "dead",
        },
    )
    channel.consume("q")
    for number in range(5):
        channel.publish(b"%d" % number, "q", properties=keyed("k"))
    assert channel.deliver().body == b"0"
    assert channel.counts("q")[0] == 2
    assert channel.bodies("dead") == [b"1", b"2"]


def test_a_publish_that_a_queue_refused_is_no_duplicate_for_its_exchange(
    broker: InProcessBroker, channel: RawChannel
) -> None:
    channel.call(Exchange.Declare(exchange="once", exchange_type="fanout", arguments={"x-deduplication": True}))
    channel.declare_queue("q", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.bind("q", "once")
    channel.call(Confirm.Select())
    for number, answer in enumerate([Basic.Ack, Basic.Nack]):
        channel.publish(b"%d" % number, exchange="once", properties=Basic.Properties(message_id=str(number)))
        channel.expect(answer)
    assert channel.bodies("q") == [b"0"]
    channel.publish(b"1", exchange="once", properties=Basic.Properties(message_id="1"))
    channel.expect(Basic.Ack)
    assert channel.bodies("q") == [b"1"]


@pytest.mark.parametrize("delivered", [False, True])
def test_a_message_expires_while_it_waits_for_its_redelivery(
    broker: InProcessBroker, channel: RawChannel, delivered: bool
) -> None:
    channel.declare_queue("dead")
    arguments = {"x-redelivery-delay": 1000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.declare_queue("q", arguments=arguments)
    if delivered:
        channel.consume("q")
    channel.publish(b"m", "q", properties=Basic.Properties(expiration="500"))
    message = channel.deliver() if delivered else channel.get("q", no_ack=False)
    assert message is not None
    channel.send(Basic.Nack(delivery_tag=message.method.delivery_tag))
    broker.pass_time(499)
    assert channel.bodies("dead") == []
    broker.pass_time(1)
    assert channel.bodies("dead") == [b"m"]
    broker.pass_time(1000)
    channel.expect_silence()


def test_timers_of_queues_that_are_gone_are_forgotten(broker: InProcessBroker, channel: RawChannel) -> None:
    for _ in range(3000):
        channel.send(Queue.Declare(queue="q", nowait=True, arguments={"x-expires": 10**9}))
        channel.send(Queue.Delete(queue="q", nowait=True))
    assert len(broker.vhost.timers) <= 1 + ENTRIES_GONE_MAX


@pytest.mark.parametrize("arguments", [{"x-group-header": "key"}, {"x-delayed": True}, {"x-max-length": 5}])
def test_a_message_that_lives_for_no_time_still_goes_to_who_is_ready_for_it(
    broker: InProcessBroker, channel: RawChannel, arguments: dict[str, Any]
) -> None:
    channel.declare_queue("q", arguments={"x-message-ttl": 0, **arguments})
    channel.consume("q")
    channel.publish(b"m", "q", properties=Basic.Properties(headers={"key": "k", "x-delay": 100}))
    broker.pass_time(100)
    assert channel.deliver().body == b"m"


@pytest.mark.parametrize("consumed", [False, True])
def test_who_does_not_acknowledge_is_told_how_often_a_message_came_back(
    broker: InProcessBroker, channel: RawChannel, consumed: bool
) -> None:
    channel.declare_queue("q", arguments={"x-delivery-limit": 5})
    channel.publish(b"m", "q")
    for _ in range(2):
        message = channel.get("q", no_ack=False)
        assert message is not None
        channel.send(Basic.Nack(delivery_tag=message.method.delivery_tag))
    if consumed:
        channel.consume("q", no_ack=True)
    message = channel.deliver() if consumed else channel.get("q")
    assert message is not None
    assert message.properties.headers == {"x-delivery-count": 2}
    assert broker.vhost.queues["q"].unacked_count == 0


@pytest.mark.parametrize("end", [Queue.Delete(queue="q", nowait=True), Queue.Purge(queue="q", nowait=True)])
def test_dead_letters_on_their_way_outlive_their_queue(
    broker: InProcessBroker, channel: RawChannel, end: Queue.Delete | Queue.Purge
) -> None:
    channel.declare_queue("dead", durable=True)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", "x-max-length": 1}
    channel.declare_queue("q", durable=True, arguments=arguments)
    for body in (b"1", b"2", b"3"):
        channel.publish(body, "q", properties=PERSISTENT)
    assert len(broker.vhost.transfers) == 2
    channel.send(end)
    broker.settle()
    assert broker.vhost.journal.journal.live_record_count == 2
    broker.crash()
    broker.start()
    channel = broker.connect().channel(1)
    assert channel.bodies("dead") == [b"1", b"2"]
    broker.settle()
    assert broker.vhost.journal.journal.live_record_count == 0
