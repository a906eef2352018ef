"""Interceptors: what they may do to messages, and what becomes of it where they fail."""

import pytest
from pamqp.base import Frame as Method
from pamqp.commands import Basic, Channel, Confirm, Exchange, Tx

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.distributions import install
from tests.support.raw_client import RawChannel
from tests.support.waiting import until

GROUP = "haypile.interceptors"
MODULE = '''
from broker.hooks.interceptor import Interceptor, Refused

class First(Interceptor):
    """Does what the routing key, and further down the body, says."""

    def before_publish(self, publication):
        key = publication.routing_key
        if key == "drop":
            return None
        if key == "refuse":
            raise Refused("not today", 403)
        if key == "fail":
            raise RuntimeError("out of order")
        if key == "nothing":
            return "nothing"
        if key == "redirect":
            publication.exchange, publication.routing_key = publication.properties.app_id, "q"
        if key == "long key":
            publication.routing_key = "k" * 256
        if key == "large header":
            publication.properties.headers = {"a": "v" * 200_000}
        if key == "large body":
            publication.body = bytes(2 << 20)
        if key == "no body":
            publication.body = None
        if key == "persistent":
            publication.properties.delivery_mode = 2
            publication.routing_key = "q"
        if key == "forged user":
            publication.properties.user_id = "somebody"
        if key == "count":
            publication.routing_key = "q"
            publication.body += b" first"
        return publication

    def before_delivery(self, delivery):
        if delivery.body == b"fail " + str(delivery.channel_number).encode():
            raise RuntimeError("out of order")
        if delivery.body == b"describe":
            names = ("vhost", "user", "exchange", "routing_key", "queue", "consumer_tag", "redelivered")
            delivery.properties.headers = {name: str(getattr(delivery, name)) for name in names}
            delivery.body = b"described"

class Second(Interceptor):
    def before_publish(self, publication):
        if b"first" in publication.body:
            publication.body += b" second"
        return publication
'''


@pytest.fixture
def broker(start_broker: StartBroker, tmp_path_factory: pytest.TempPathFactory) -> BrokerProcess:
    environment = install(tmp_path_factory.mktemp("installed"), GROUP, MODULE, a_first="First", b_second="Second")
    return start_broker({"max-message-size-bytes": str(1 << 20)}, environment)


@pytest.fixture
def channel(broker: BrokerProcess) -> RawChannel:
    channel = broker.connect().open().channel()
    channel.declare_queue("q", durable=True)
    return channel


def failed(channel: RawChannel, method: type[Method] = Basic.Publish) -> None:
    channel.expect_channel_close(541, "INTERNAL_ERROR - interceptor 'a-first' failed", method)


def test_a_dropped_message_is_confirmed(channel: RawChannel) -> None:
    channel.call(Confirm.Select())
    channel.publish(b"", "drop", mandatory=True)
    assert channel.expect(Basic.Ack).delivery_tag == 1
    channel.publish(b"", "q")
    assert channel.expect(Basic.Ack).delivery_tag == 2
    assert channel.bodies("q") == [b""]


def test_interceptors_are_called_in_the_order_of_their_names(channel: RawChannel) -> None:
    channel.publish(b"body", "count")
    message = channel.get("q")
    assert message is not None
    assert (message.body, message.method.routing_key) == (b"body first second", "q")


def test_a_message_can_become_persistent(broker: BrokerProcess, channel: RawChannel) -> None:
    channel.publish(b"kept", "persistent")
    channel.publish(b"lost", "q")
    channel.expect_silence()
    broker.terminate()
    broker.start()
    assert broker.connect().open().channel().bodies("q") == [b"kept"]


def test_a_message_can_be_redirected_where_its_publisher_may_publish(channel: RawChannel) -> None:
    channel.call(Exchange.Declare(exchange="x", exchange_type="direct"))
    channel.bind("q", "x", "q")
    channel.publish(b"body", "redirect", properties=Basic.Properties(app_id="x"))
    message = channel.get("q")
    assert message is not None
    assert (message.method.exchange, message.method.routing_key) == ("x", "q")
    channel.publish(b"body", "redirect", properties=Basic.Properties(app_id="missing"))
    channel.expect_channel_close(404, "NOT_FOUND - no exchange 'missing' in vhost '/'", Basic.Publish)
    channel = channel.client.channel(2)
    channel.publish(b"body", "redirect", properties=Basic.Properties(app_id="amq.rabbitmq.trace"))
    text = "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'"
    channel.expect_channel_close(403, text, Basic.Publish)


@pytest.mark.parametrize("key", ["fail", "nothing", "long key", "large header", "no body"])
def test_a_failure_closes_the_channel_of_the_publisher(broker: BrokerProcess, channel: RawChannel, key: str) -> None:
    channel.publish(b"body", key)
    failed(channel)
    until(lambda: "interceptor failed" in broker.log_text)
    other = channel.client.channel(2)
    other.publish(b"other", "q")
    assert other.bodies("q") == [b"other"]


@pytest.mark.parametrize(
    ("key", "code", "text"),
    [
        ("refuse", 403, "ACCESS_REFUSED - not today"),
        ("large body", 406, "PRECONDITION_FAILED - message size 2097152 is larger than configured max size 1048576"),
        (
            "forged user",
            406,
            "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'",
        ),
    ],
)
def test_what_is_refused(channel: RawChannel, key: str, code: int, text: str) -> None:
    channel.publish(b"body", key)
    channel.expect_channel_close(code, text, Basic.Publish)


def test_a_transaction_has_what_the_interceptors_leave(channel: RawChannel) -> None:
    channel.call(Tx.Select())
    channel.publish(b"one", "count")
    channel.publish(b"two", "drop")
    channel.call(Tx.Commit())
    assert channel.bodies("q") == [b"one first second"]


def test_a_delivery_is_changed_for_the_client_and_not_in_the_queue(channel: RawChannel) -> None:
    channel.publish(b"describe", "q", properties=Basic.Properties(headers={"a": 1}, message_id="m"))
    message = channel.get("q", no_ack=False)
    assert message is not None
    told = {
        "vhost": "/",
        "user": "guest",
        "exchange": "",
        "routing_key": "q",
        "queue": "q",
        "consumer_tag": "None",
        "redelivered": "False",
    }
    assert (message.body, message.properties.headers, message.properties.message_id) == (b"described", told, "m")
    channel.send(Basic.Nack(message.method.delivery_tag, requeue=True))
    channel.consume("q", "tag")
    message = channel.deliver()
    told |= {"consumer_tag": "tag", "redelivered": "True"}
    assert (message.body, message.properties.headers) == (b"described", told)


def test_a_failed_delivery_closes_the_channel_of_the_consumer_and_goes_to_the_next(
    broker: BrokerProcess, channel: RawChannel
) -> None:
    """The consumer is not the one whose publish brings the message to it."""
    consumers = broker.connect().open()
    bad, good = consumers.channel(1), consumers.channel(2)
    bad.consume("q")
    good.consume("q")
    channel.call(Confirm.Select())
    for _ in range(2):
        channel.publish(b"fail 1", "q")
        channel.expect(Basic.Ack)
    failed(bad, Basic.Deliver)
    assert good.deliver_many(2) == [b"fail 1"] * 2
    channel.publish(b"more", "q")
    assert good.deliver().body == b"more"
    until(lambda: broker.log_text.count('"event": "interceptor failed"') == 1)


def test_a_get_that_fails_leaves_the_message_in_its_queue(channel: RawChannel) -> None:
    channel.publish(b"fail 1", "q")
    channel.send(Basic.Get(queue="q", no_ack=False))
    failed(channel, Basic.Get)
    other = channel.client.channel(2)
    assert other.counts("q") == (1, 0)
    message = other.get("q")
    assert message is not None
    assert (message.body, message.method.redelivered) == (b"fail 1", True)


def test_the_channel_may_be_closed_by_its_client_in_the_same_turn(channel: RawChannel) -> None:
    channel.publish(b"fail 1", "q")
    channel.send(Basic.Get(queue="q", no_ack=False))
    channel.send(Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
    assert channel.client.receive(1).method.name in ("Channel.CloseOk", "Channel.Close")
    assert channel.client.channel(2).counts("q") == (1, 0)
