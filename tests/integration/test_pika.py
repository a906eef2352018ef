"""pika, in its blocking and its callback-driven form."""

from collections.abc import Iterator

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ProbableAuthenticationError, UnroutableError

from tests.support.raw_client import Address


@pytest.fixture
def parameters(address: Address) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(*address)


@pytest.fixture
def blocking(parameters: pika.ConnectionParameters) -> Iterator[BlockingChannel]:
    with pika.BlockingConnection(parameters) as connection:
        yield connection.channel()


def test_publish_and_get(blocking: BlockingChannel, name: str) -> None:
    blocking.queue_declare(name, exclusive=True)
    blocking.basic_publish("", name, b"body", pika.BasicProperties(headers={"a": [1, "b", None]}, priority=3))
    method, properties, body = blocking.basic_get(name, auto_ack=True)
    assert (method.routing_key, properties.headers, properties.priority, body) == (
        name,
        {"a": [1, "b", None]},
        3,
        b"body",
    )


def test_confirmed_publishes(blocking: BlockingChannel, name: str) -> None:
    blocking.confirm_delivery()
    blocking.queue_declare(name, durable=True)
    persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
    for number in range(20):
        blocking.basic_publish("", name, str(number).encode(), persistent, mandatory=True)
    with pytest.raises(UnroutableError):
        blocking.basic_publish("", f"{name}-none", b"", mandatory=True)
    assert blocking.queue_delete(name).method.message_count == 20


def test_consume_with_a_prefetch_count(blocking: BlockingChannel, name: str) -> None:
    blocking.queue_declare(name, exclusive=True)
    for number in range(50):
        blocking.basic_publish("", name, str(number).encode())
    blocking.basic_qos(prefetch_count=7)
    bodies = []
    for method, _, body in blocking.consume(name, inactivity_timeout=10):
        assert method is not None
        bodies.append(int(body))
        blocking.basic_ack(method.delivery_tag)
        if len(bodies) == 50:
            break
    assert bodies == list(range(50))
    assert blocking.cancel() == 0


def test_a_refusal_is_an_exception_with_its_text(blocking: BlockingChannel, name: str) -> None:
    with pytest.raises(ChannelClosedByBroker) as refused:
        blocking.queue_declare(name, passive=True)
    assert refused.value.reply_code == 404
    assert refused.value.reply_text == f"NOT_FOUND - no queue '{name}' in vhost '/'"


def test_a_wrong_password_is_recognized(address: Address) -> None:
    wrong = pika.ConnectionParameters(*address, credentials=pika.PlainCredentials("guest", "wrong"))
    with pytest.raises(ProbableAuthenticationError, match="ACCESS_REFUSED"):
        pika.BlockingConnection(wrong)


def test_transactions(blocking: BlockingChannel, name: str) -> None:
    blocking.queue_declare(name, exclusive=True)
    blocking.tx_select()
    blocking.basic_publish("", name, b"rolled back")
    blocking.tx_rollback()
    blocking.basic_publish("", name, b"committed")
    blocking.tx_commit()
    assert blocking.basic_get(name, auto_ack=True)[2] == b"committed"
    assert blocking.basic_get(name, auto_ack=True) == (None, None, None)


def test_select_connection(parameters: pika.ConnectionParameters, name: str) -> None:
    received: list[bytes] = []

    def on_open(connection: pika.SelectConnection) -> None:
        connection.channel(on_open_callback=on_channel)

    def on_channel(channel: pika.channel.Channel) -> None:
        channel.queue_declare(name, exclusive=True, callback=lambda _: consume(channel))

    def consume(channel: pika.channel.Channel) -> None:
        channel.basic_consume(name, on_message)
        for number in range(10):
            channel.basic_publish("", name, str(number).encode())

    def on_message(channel: pika.channel.Channel, method: pika.spec.Basic.Deliver, _: object, body: bytes) -> None:
        received.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(received) == 10:
            channel.connection.close()

    connection = pika.SelectConnection(
        parameters,
        on_open_callback=on_open,
        on_open_error_callback=lambda *_: connection.ioloop.stop(),
        on_close_callback=lambda *_: connection.ioloop.stop(),
    )
    connection.ioloop.start()
    connection.ioloop.close()
    assert [int(body) for body in received] == list(range(10))
