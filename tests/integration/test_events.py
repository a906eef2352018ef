"""The event exchange: what happens to objects, in the words of RabbitMQ's plugin."""

import time
from typing import Any

import pytest
from pamqp.commands import Basic, Channel, Exchange, Queue

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import Message, RawChannel, RawClient
from tests.support.waiting import until

EVENTS = "amq.rabbitmq.event"


@pytest.fixture
def broker(start_broker: StartBroker) -> BrokerProcess:
    return start_broker({"event-exchange": "true"})


@pytest.fixture
def events(broker: BrokerProcess) -> RawChannel:
    """A channel of another connection, with a consumer of the events of which a test says the keys."""
    events = broker.connect().open().channel()
    events.declare_queue("events")
    events.consume("events", no_ack=True)
    return events


@pytest.fixture
def channel(broker: BrokerProcess) -> RawChannel:
    return broker.connect().open().channel()


def name_of(client: RawClient) -> str:
    return "{}:{} -> {}:{}".format(*client.socket.getsockname(), *client.socket.getpeername())


def said(message: Message, key: str) -> dict[str, Any]:
    """The headers of an event, without what all events have."""
    assert (message.method.exchange, message.method.routing_key, message.body) == (EVENTS, key, b"")
    properties = message.properties
    headers = dict(properties.headers or {})
    at_ms = headers.pop("timestamp_in_ms")
    assert properties.delivery_mode == 2
    assert abs(at_ms / 1000 - time.time()) < 60
    assert properties.timestamp is not None
    assert int(properties.timestamp.timestamp()) == at_ms // 1000
    return headers


def test_the_exchange_is_there_and_internal(channel: RawChannel) -> None:
    channel.call(Exchange.Declare(exchange=EVENTS, exchange_type="topic", durable=True, internal=True))
    channel.publish(b"", "k", EVENTS)
    text = f"ACCESS_REFUSED - cannot publish to internal exchange '{EVENTS}' in vhost '/'"
    channel.expect_channel_close(403, text, Basic.Publish)


def test_queues_and_their_bindings(channel: RawChannel, events: RawChannel) -> None:
    for key in ("queue.*", "binding.*"):
        events.bind("events", EVENTS, key)
    assert said(events.deliver(), "binding.created")["routing_key"] == "binding.*"
    channel.declare_queue("q", exclusive=True, arguments={"x-max-length": 5})
    by = {"user_who_performed_action": "guest"}
    queue = {"name": "q", "vhost": "/", "type": "rabbit_classic_queue"}
    kind = {"durable": False, "auto_delete": False, "arguments": {"x-max-length": 5}, "exclusive": True}
    owner = {"owner_pid": name_of(channel.client)}
    assert said(events.deliver(), "queue.created") == queue | kind | owner | by
    channel.bind("q", "amq.topic", "k", {"a": "b"})
    channel.bind("q", "amq.topic", "k", {"a": "b"})
    binding = {
        "source_name": "amq.topic",
        "source_kind": "exchange",
        "destination_name": "q",
        "destination_kind": "queue",
        "routing_key": "k",
        "arguments": {"a": "b"},
        "vhost": "/",
    }
    assert said(events.deliver(), "binding.created") == binding | by
    channel.unbind("q", "amq.topic", "k", {"a": "b"})
    assert said(events.deliver(), "binding.deleted") == binding | by
    channel.bind("q", "amq.topic", "k", {"a": "b"})
    assert said(events.deliver(), "binding.created") == binding | by
    channel.client.close()
    by = {"user_who_performed_action": "rmq-internal"}
    assert said(events.deliver(), "binding.deleted") == binding | by
    assert said(events.deliver(), "queue.deleted") == queue | by
    events.expect_silence()


def test_exchanges(channel: RawChannel, events: RawChannel) -> None:
    events.bind("events", EVENTS, "exchange.#")
    channel.call(Exchange.Declare(exchange="x", exchange_type="fanout", auto_delete=True))
    exchange = {"name": "x", "vhost": "/", "user_who_performed_action": "guest"}
    kind = {"type": "fanout", "durable": False, "auto_delete": True, "internal": False, "arguments": {}}
    assert said(events.deliver(), "exchange.created") == exchange | kind
    channel.call(Exchange.Delete(exchange="x"))
    assert said(events.deliver(), "exchange.deleted") == exchange


def test_connections_channels_and_consumers(broker: BrokerProcess, events: RawChannel) -> None:
    for key in ("user.#", "connection.*", "channel.*", "consumer.*"):
        events.bind("events", EVENTS, key)
    client = broker.connect().open()
    login = said(events.deliver(), "user.authentication.success")
    name = name_of(client)
    host, port = client.socket.getsockname()
    assert login.items() >= {"name": "guest", "connection_name": name, "peer_host": host, "peer_port": port}.items()
    created = said(events.deliver(), "connection.created")
    assert created.items() >= {"name": name, "user": "guest", "vhost": "/", "auth_mechanism": "PLAIN"}.items()
    assert created["frame_max"] == client.frame_max
    channel = client.channel(7)
    about = {"pid": f"{name} (7)", "name": f"{name} (7)", "user_who_performed_action": "guest"}
    rest = {"connection": name, "number": 7, "user": "guest", "vhost": "/"}
    assert said(events.deliver(), "channel.created") == about | rest
    channel.declare_queue("q", auto_delete=True)
    channel.call(Basic.Qos(prefetch_count=3))
    channel.consume("q", "tag")
    consumer = {"consumer_tag": "tag", "channel": f"{name} (7)", "queue": "q", "vhost": "/"}
    consumer |= {"user_who_performed_action": "guest"}
    kind = {"exclusive": False, "ack_required": True, "prefetch_count": 3, "arguments": {}}
    assert said(events.deliver(), "consumer.created") == consumer | kind
    channel.call(Basic.Cancel(consumer_tag="tag"))
    assert said(events.deliver(), "consumer.deleted") == consumer
    channel.declare_queue("q")
    channel.consume("q", "other")
    said(events.deliver(), "consumer.created")
    channel.delete_queue("q")
    channel.expect(Basic.Cancel)
    assert said(events.deliver(), "consumer.deleted")["consumer_tag"] == "other"
    channel.call(Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
    assert said(events.deliver(), "channel.closed") == about | {"consumer_count": 0}
    client.close()
    assert said(events.deliver(), "connection.closed")["name"] == name


def test_a_refused_login(broker: BrokerProcess, events: RawChannel) -> None:
    events.bind("events", EVENTS, "user.authentication.failure")
    client = broker.connect()
    client.start()
    client.log_in("nobody", "wrong")
    failure = said(events.deliver(), "user.authentication.failure")
    assert (failure["name"], failure["error"]) == ("nobody", "user 'nobody' - invalid credentials")
    assert "wrong" not in str(failure)


def test_events_are_kept_over_a_restart_and_a_new_virtual_host_is_told(broker: BrokerProcess) -> None:
    channel = broker.connect().open().channel()
    channel.declare_queue("kept", durable=True)
    channel.bind("kept", EVENTS, "queue.created")
    channel.bind("kept", EVENTS, "vhost.created")
    channel.declare_queue("q")
    channel.expect_silence()
    broker.terminate()
    broker.settings["vhosts"] = "/,other"
    broker.start()
    channel = broker.connect().open().channel()
    message = channel.get("kept")
    assert message is not None
    assert said(message, "queue.created")["name"] == "q"
    message = channel.get("kept")
    assert message is not None
    assert said(message, "vhost.created")["name"] == "other"
    assert channel.get("kept") is None


@pytest.mark.parametrize(
    ("source", "setting", "limit"),
    [("memory", "memory-high-watermark-bytes", "1000"), ("disk", "disk-free-limit-bytes", str(1 << 60))],
)
def test_an_alarm_is_told(start_broker: StartBroker, source: str, setting: str, limit: str) -> None:
    broker = start_broker({"event-exchange": "true"})
    channel = broker.connect().open().channel()
    channel.declare_queue("kept", durable=True)
    channel.bind("kept", EVENTS, "alarm.*")
    channel.expect_silence()
    broker.terminate()
    broker.settings[setting] = limit
    broker.start()
    channel = broker.connect().open().channel()
    until(lambda: channel.counts("kept")[0] == 1)
    message = channel.get("kept")
    assert message is not None
    assert said(message, "alarm.set")["source"] == source


def test_arguments_that_do_not_fit_are_left_out(channel: RawChannel, events: RawChannel) -> None:
    events.bind("events", EVENTS, "queue.created")
    channel.call(Queue.Declare(queue="q", arguments={"a": "v" * 130_900}))
    created = said(events.deliver(), "queue.created")
    assert (created["name"], "arguments" in created) == ("q", False)


def test_nothing_is_told_unless_switched_on(start_broker: StartBroker) -> None:
    channel = start_broker().connect().open().channel()
    channel.declare_queue("events")
    channel.bind("events", EVENTS, "#")
    channel.declare_queue("q")
    assert channel.bodies("events") == []
