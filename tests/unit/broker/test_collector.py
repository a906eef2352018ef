"""What a broker holds leaves no reference cycles behind when it goes: so nothing old has to be collected."""

import gc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm, Exchange, Queue, Tx

from broker import collector
from tests.support.in_process import InProcessBroker, InProcessClient

ROUNDS = 3
PERSISTENT = b"\x10\x00\x02"


def one_life(broker: InProcessBroker) -> None:
    """A client does a bit of everything, takes it all back, and goes."""
    client = broker.connect()
    channel = client.channel(1)
    channel.call(Exchange.Declare(exchange="x", exchange_type="topic", durable=True))
    channel.call(Exchange.Declare(exchange="y", exchange_type="fanout", auto_delete=True))
    channel.call(Exchange.Bind(destination="y", source="x", routing_key="#"))
    for name, arguments in (
        ("plain", {}),
        ("managed", {"x-message-ttl": 1000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "plain"}),
        ("limited", {"x-max-length": 2, "x-deduplication": True, "x-max-priority": 3}),
        ("grouped", {"x-group-header": "g", "x-delivery-limit": 2, "x-single-active-consumer": True}),
    ):
        channel.declare_queue(name, durable=True, arguments=arguments)
        channel.bind(name, "x", "#", {"é": 1})
        channel.bind(name, "y")
    channel.declare_queue("own", exclusive=True)
    channel.call(Confirm.Select())
    channel.publish(b"body", "key", "x", PERSISTENT)
    channel.expect(Basic.Ack)
    tag = channel.consume("plain")
    channel.send(Basic.Nack(delivery_tag=channel.deliver().method.delivery_tag, requeue=True))
    channel.deliver()
    channel.call(Basic.Cancel(consumer_tag=tag))
    channel.refused(Basic.Consume(queue="missing"), 404, "NOT_FOUND - no queue 'missing' in vhost '/'")
    second = client.channel(2)
    second.call(Tx.Select())
    second.publish(b"body", "plain", properties=PERSISTENT)
    second.call(Tx.Commit())
    second.consume("grouped")
    second.consume("own", no_ack=True)
    broker.pass_time(2000)
    for name in ("plain", "managed", "limited"):
        second.delete_queue(name)
    second.call(Exchange.Delete(exchange="x"))
    client.cut()
    broker.clients.remove(client)
    other = broker.connect()
    other.channel(1).delete_queue("grouped")
    other.cut()
    broker.clients.remove(other)


def no_login(broker: InProcessBroker) -> None:
    """A client goes before it has logged in."""
    client = InProcessClient(broker)
    client.start()
    client.cut()


def no_channel(broker: InProcessBroker) -> None:
    """A client uses a channel that it has not opened."""
    client = broker.connect()
    client.send(Basic.Qos(), 1)
    client.expect_connection_close(504)
    client.cut()
    broker.clients.remove(client)


def no_answer(broker: InProcessBroker) -> None:
    """A client goes before it is answered what the journal has to have first."""
    client = broker.connect()
    channel = client.channel(1)
    channel.declare_queue("waiting", durable=True)
    channel.send(Queue.Delete(queue="waiting"))
    channel.send(Queue.Declare(queue="waiting", durable=True))
    channel.send(Queue.Purge(queue="waiting"))
    channel.send(Basic.Get(queue="waiting"))
    client.cut()
    broker.clients.remove(client)
    broker.settle()


@pytest.mark.parametrize("life", [one_life, no_login, no_channel, no_answer])
def test_nothing_is_left_to_collect(tmp_path: Path, life: Callable[[InProcessBroker], None]) -> None:
    broker = InProcessBroker(tmp_path)
    life(broker)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(ROUNDS):
            life(broker)
        gc.collect()
        found = Counter(type(thing).__module__ + "." + type(thing).__name__ for thing in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        broker.stop()
    ours = {name: count for name, count in found.items() if name.startswith(("broker.", "protocol.", "storage."))}
    assert not ours, found


def test_what_survives_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = gc.get_threshold()
    monkeypatch.setattr(gc, "callbacks", [])
    try:
        collector.load()
        assert not gc.isenabled()
        collector.serve()
        assert gc.isenabled()
        kept = [[] for _ in range(collector.YOUNG_OBJECTS_MAX * (collector.COLLECTIONS_OF_YOUNG_MAX + 2))]
        old = {id(thing) for thing in gc.get_objects(generation=2)}
        frozen = sum(id(thing) not in old for thing in kept)
        assert frozen == len(kept)
        assert gc.get_freeze_count() > collector.YOUNG_OBJECTS_MAX
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
        gc.enable()
