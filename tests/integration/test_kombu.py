"""kombu: its connections, and how it sees the broker's ways of basic.qos."""

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import kombu
import pytest

from tests.support.raw_client import Address


@pytest.fixture
def connection(address: Address) -> Iterator[kombu.Connection]:
    with kombu.Connection(f"amqp://guest:guest@{address[0]}:{address[1]}//", connect_timeout=10) as connection:
        yield connection


def drain(connection: kombu.Connection, received: list[Any], count: int) -> None:
    while len(received) < count:
        connection.drain_events(timeout=10)


def test_the_protocols_handshake(connection: kombu.Connection) -> None:
    connection.ensure_connection(max_retries=1)
    assert connection.connected
    properties = connection.connection.server_properties
    assert properties["product"]
    assert properties["capabilities"]["consumer_cancel_notify"] is True


def test_producers_and_consumers(connection: kombu.Connection, name: str) -> None:
    exchange = kombu.Exchange(name, type="direct", auto_delete=True)
    queue = kombu.Queue(name, exchange, routing_key="key", exclusive=True)
    received: list[Any] = []

    def on_message(body: Any, message: kombu.Message) -> None:
        received.append(body)
        message.ack()

    with connection.channel() as channel:
        producer = kombu.Producer(channel)
        with kombu.Consumer(channel, queue, callbacks=[on_message], prefetch_count=5):
            for number in range(20):
                producer.publish({"number": number}, exchange=exchange, routing_key="key", compression="zlib")
            drain(connection, received, 20)
    assert [body["number"] for body in received] == list(range(20))


def test_simple_queues(connection: kombu.Connection, name: str) -> None:
    queue = connection.SimpleQueue(name, queue_opts={"auto_delete": True})
    for number in range(3):
        queue.put({"number": number})
    messages = [queue.get(timeout=10) for _ in range(3)]
    for message in messages:
        message.ack()
    assert [message.payload["number"] for message in messages] == [0, 1, 2]
    with pytest.raises(queue.Empty):
        queue.get_nowait()
    queue.close()


def test_a_requeued_message_comes_again(connection: kombu.Connection, name: str) -> None:
    seen: list[bool] = []

    def on_message(body: Any, message: kombu.Message) -> None:
        seen.append(bool(message.delivery_info["redelivered"]))
        message.requeue() if len(seen) == 1 else message.ack()

    with connection.channel() as channel:
        queue = kombu.Queue(name, exclusive=True, channel=channel)
        queue.declare()
        kombu.Producer(channel).publish("m", routing_key=name)
        with kombu.Consumer(channel, queue, callbacks=[on_message]):
            drain(connection, seen, 2)
    assert seen == [False, True]


def test_confirmed_publishes(address: Address, name: str) -> None:
    options = {"confirm_publish": True}
    url = f"amqp://guest:guest@{address[0]}:{address[1]}//"
    with kombu.Connection(url, transport_options=options) as connection, connection.channel() as channel:
        queue = kombu.Queue(name, durable=True, channel=channel)
        queue.declare()
        for number in range(5):
            kombu.Producer(channel).publish(number, routing_key=name, delivery_mode=2)
        assert queue.queue_declare(passive=True).message_count == 5
        queue.delete()


def test_heartbeats(address: Address) -> None:
    url = f"amqp://guest:guest@{address[0]}:{address[1]}//"
    with kombu.Connection(url, heartbeat=1) as connection:
        connection.ensure_connection(max_retries=1)
        assert connection.get_heartbeat_interval() == 1
        began = time.monotonic()
        while time.monotonic() - began < 3.5:
            connection.heartbeat_check(rate=2)
            with contextlib.suppress(socket.timeout):
                connection.drain_events(timeout=0.1)
        connection.channel().close()
