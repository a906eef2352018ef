"""The firehose: copies of what is published and delivered, in the words of RabbitMQ's rabbit_trace."""

import re
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Basic, Exchange, Tx

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import Message, RawChannel, RawClient

TRACE = "amq.rabbitmq.trace"
DOCUMENT = Path(__file__).parents[2] / "docs" / "tracing-and-events.md"


@pytest.fixture
def broker(start_broker: StartBroker) -> BrokerProcess:
    return start_broker({"tracing": "/"})


@pytest.fixture
def client(broker: BrokerProcess) -> RawClient:
    return broker.connect().open()


@pytest.fixture
def channel(client: RawClient) -> RawChannel:
    return client.channel(1)


@pytest.fixture
def traces(client: RawClient) -> RawChannel:
    """A channel with a consumer of everything that the firehose tells."""
    traces = client.channel(2)
    traces.declare_queue("traces", exclusive=True)
    traces.bind("traces", TRACE, "#")
    traces.consume("traces", no_ack=True)
    return traces


def headers(message: Message) -> dict[str, Any]:
    told = message.properties.headers
    assert told is not None
    return told


def test_the_exchange_is_there_and_internal(channel: RawChannel) -> None:
    declare = Exchange.Declare(exchange=TRACE, exchange_type="topic", durable=True, internal=True)
    channel.call(declare)
    text = f"PRECONDITION_FAILED - inequivalent arg 'internal' for exchange '{TRACE}' in vhost '/'"
    declare.internal = False
    channel = channel.refused(declare, 406, text, starts_with=True)
    channel.publish(b"", "k", TRACE)
    text = f"ACCESS_REFUSED - cannot publish to internal exchange '{TRACE}' in vhost '/'"
    channel.expect_channel_close(403, text, Basic.Publish)


def test_a_publish_and_its_delivery_are_told(channel: RawChannel, traces: RawChannel) -> None:
    for queue in ("one", "two"):
        channel.declare_queue(queue)
        channel.bind(queue, "amq.direct", "k")
    properties = Basic.Properties(headers={"a": 1, "BCC": ["hidden"]}, delivery_mode=2, message_id="m", priority=3)
    channel.publish(b"body", "k", "amq.direct", properties)
    told = traces.deliver()
    assert (told.method.exchange, told.method.routing_key, told.body) == (TRACE, "publish.amq.direct", b"body")
    found = headers(told)
    name = "{}:{} -> {}:{}".format(*channel.client.socket.getsockname(), *channel.client.socket.getpeername())
    assert found.pop("node").startswith("haypile@")
    assert sorted(found.pop("routed_queues")) == ["one", "two"]
    assert found == {
        "exchange_name": "amq.direct",
        "routing_keys": ["k", "hidden"],
        "properties": {"headers": {"a": 1}, "delivery_mode": 2, "message_id": "m", "priority": 3},
        "vhost": "/",
        "connection": name,
        "channel": 1,
        "user": "guest",
    }
    assert told.properties.delivery_mode is None
    message = channel.get("one", no_ack=False)
    assert message is not None
    told = traces.deliver()
    assert (told.method.routing_key, told.body, headers(told)["redelivered"]) == ("deliver.one", b"body", 0)
    assert headers(told)["properties"]["headers"] == {"a": 1}
    assert "routed_queues" not in headers(told)
    channel.send(Basic.Nack(message.method.delivery_tag, requeue=True))
    channel.consume("one", no_ack=True)
    assert (channel.deliver().body, channel.number) == (b"body", 1)
    told = traces.deliver()
    assert (told.method.routing_key, headers(told)["redelivered"], headers(told)["channel"]) == ("deliver.one", 1, 1)
    traces.expect_silence()


def test_an_unroutable_message_is_told_and_a_transaction_when_it_commits(
    channel: RawChannel, traces: RawChannel
) -> None:
    channel.publish(b"nowhere", "k", "amq.direct")
    told = traces.deliver()
    assert (told.method.routing_key, headers(told)["routed_queues"]) == ("publish.amq.direct", [])
    channel.call(Tx.Select())
    channel.publish(b"later", "q")
    channel.expect_silence()
    traces.expect_silence()
    channel.call(Tx.Commit())
    assert traces.deliver().body == b"later"


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth > 1 else {}


@pytest.mark.parametrize("fields", [{"a": "v" * 130_950}, nested(16)], ids=["too large", "too deep"])
def test_what_does_not_fit_is_left_out(channel: RawChannel, traces: RawChannel, fields: dict[str, Any]) -> None:
    channel.publish(b"", "k", "amq.direct", Basic.Properties(headers=fields, message_id="m"))
    told = traces.deliver()
    assert headers(told)["properties"] == {"message_id": "m"}


def test_a_queue_that_holds_traces_of_itself_ends(channel: RawChannel, traces: RawChannel) -> None:
    channel.publish(b"once", "traces")
    assert [traces.deliver().method.exchange for _ in range(3)] == [TRACE, "", TRACE]
    traces.expect_silence()


def test_nothing_is_told_unless_switched_on(start_broker: StartBroker) -> None:
    client = start_broker({"vhosts": "/", "tracing": ""}).connect().open()
    channel = client.channel(1)
    channel.declare_queue("traces")
    channel.bind("traces", TRACE, "#")
    channel.publish(b"secret", "k")
    assert channel.bodies("traces") == []


def test_the_examples_of_the_document(broker: BrokerProcess, channel: RawChannel) -> None:
    watch, audit = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    here = f"ConnectionParameters{broker.address}"

    def program(source: str) -> list[str]:
        return [sys.executable, "-u", "-c", source.replace('ConnectionParameters("localhost")', here)]

    assert subprocess.run(program(audit), timeout=30).returncode == 0
    assert channel.counts("audit") == (0, 0)
    with subprocess.Popen(program(watch), stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        try:
            # Nobody says when it has begun to listen.
            while not select.select([watching.stdout], [], [], 0.05)[0]:
                assert watching.poll() is None
                channel.publish(b"body", "audit", properties=Basic.Properties(message_id="m"))
            assert watching.stdout.readline() == "publish. {'message_id': 'm'} b'body'\n"
        finally:
            watching.kill()
