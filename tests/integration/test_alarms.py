"""When the broker is short of memory it stops those who publish, and tells them if they understand it."""

import urllib.error
import urllib.request

import pytest
from pamqp.commands import Basic, Connection

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import ALL_CAPABILITIES


@pytest.fixture
def starved(start_broker: StartBroker) -> BrokerProcess:
    """A broker that has always more memory than it may have, and has noticed it."""
    broker = start_broker({"memory-high-watermark-bytes": "1"})
    host, port = broker.metrics_address
    while "memory" not in health(f"http://{host}:{port}/health"):
        pass
    return broker


def health(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            body: bytes = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            body = error.read()
    return body.decode()


def test_a_publisher_is_told_that_it_is_blocked(starved: BrokerProcess) -> None:
    with starved.connect().open() as client:
        channel = client.channel(1)
        channel.publish(b"m", "nowhere")
        assert client.expect(Connection.Blocked).reason == "low on memory"


def test_connections_that_publish_nothing_are_served(starved: BrokerProcess) -> None:
    with starved.connect().open() as client:
        channel = client.channel(1)
        queue = channel.declare_queue(exclusive=True)
        channel.consume(queue)
        assert channel.get(queue) is None
        channel.expect_silence()


def test_a_blocked_publisher_is_not_read_any_more(starved: BrokerProcess) -> None:
    deaf = ALL_CAPABILITIES | {"connection.blocked": False}
    with starved.connect().open(capabilities=deaf) as client, starved.connect().open() as other:
        publisher, consumer = client.channel(1), other.channel(1)
        queue = consumer.declare_queue("work", auto_delete=True)
        consumer.consume(queue, no_ack=True)
        publisher.publish(b"m", queue)
        publisher.send(Basic.Qos())
        client.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            publisher.expect(Basic.QosOk)
        assert consumer.counts(queue)[1] == 1
