"""What is there after the broker ended, by its own will or not."""

import signal

import pytest
from pamqp.commands import Basic, Confirm, Connection, Exchange, Queue, Tx

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawChannel

PERSISTENT, TRANSIENT = Basic.Properties(delivery_mode=2), Basic.Properties(delivery_mode=1)


def open_channel(broker: BrokerProcess) -> RawChannel:
    return broker.connect().open().channel(1)


def end(broker: BrokerProcess, how: str) -> None:
    if how == "killed":
        broker.kill()
    else:
        assert broker.terminate() == 0


def publish_confirmed(channel: RawChannel, queue: str, count: int) -> None:
    channel.call(Confirm.Select())
    for number in range(count):
        channel.publish(str(number).encode(), queue, properties=PERSISTENT)
    last = 0
    while last < count:
        last = channel.expect(Basic.Ack).delivery_tag


def take_all(channel: RawChannel) -> list[tuple[int, bool]]:
    """Return the numbers of the messages that are left, in their order, and whether each was delivered before."""
    messages = list(iter(lambda: channel.get("work"), None))
    return [(int(message.body), message.method.redelivered) for message in messages]


def start_with_messages(start_broker: StartBroker, count: int) -> tuple[BrokerProcess, RawChannel]:
    """Start a broker and confirm so many messages; return the channel they came over, too."""
    broker = start_broker()
    channel = open_channel(broker)
    channel.declare_queue("work", durable=True)
    publish_confirmed(channel, "work", count)
    return broker, channel


@pytest.mark.parametrize("how", ["killed", "terminated"])
def test_confirmed_persistent_messages_are_there_in_order(start_broker: StartBroker, how: str) -> None:
    broker, channel = start_with_messages(start_broker, 500)
    end(broker, how)
    broker.start()
    channel = open_channel(broker)
    # After a crash nobody knows what was delivered in the last moments.
    assert take_all(channel) == [(number, how == "killed") for number in range(500)]


@pytest.mark.parametrize("how", ["killed", "terminated"])
def test_definitions_are_there(start_broker: StartBroker, how: str) -> None:
    broker = start_broker()
    channel = open_channel(broker)
    arguments = {"x-max-length": 10, "x-dead-letter-exchange": "amq.fanout"}
    channel.declare_queue("durable", durable=True, arguments=arguments)
    channel.declare_queue("transient")
    channel.declare_queue("exclusive", exclusive=True)
    channel.declare_queue("deleted", durable=True)
    channel.call(Exchange.Declare(exchange="kept", exchange_type="topic", durable=True))
    channel.call(Exchange.Declare(exchange="second", exchange_type="fanout", durable=True))
    channel.call(Exchange.Declare(exchange="lost", exchange_type="topic"))
    channel.call(Exchange.Bind(destination="second", source="kept", routing_key="b.*", arguments={"x": [1, None]}))
    channel.bind("durable", "kept", "a.#")
    channel.bind("durable", "kept", "gone")
    channel.bind("durable", "second")
    channel.unbind("durable", "kept", "gone")
    channel.delete_queue("deleted")
    end(broker, how)
    broker.start()
    channel = open_channel(broker)
    channel.declare_queue("durable", durable=True, arguments=arguments)
    for method, text in (
        (Queue.Declare(queue="transient", passive=True), "no queue 'transient' in vhost '/'"),
        (Queue.Declare(queue="exclusive", passive=True), "no queue 'exclusive' in vhost '/'"),
        (Queue.Declare(queue="deleted", passive=True), "no queue 'deleted' in vhost '/'"),
        (Exchange.Declare(exchange="lost", passive=True), "no exchange 'lost' in vhost '/'"),
    ):
        channel = channel.refused(method, 404, f"NOT_FOUND - {text}")
    for key in ("a.x", "b.x", "gone"):
        channel.publish(key.encode(), key, "kept")
    assert channel.bodies("durable") == [b"a.x", b"b.x"]


def test_transient_messages_are_gone_and_persistent_ones_stay(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = open_channel(broker)
    channel.declare_queue("work", durable=True)
    channel.call(Confirm.Select())
    for body, properties in ((b"lost", TRANSIENT), (b"kept", PERSISTENT), (b"lost too", b"")):
        channel.publish(body, "work", properties=properties)
        channel.expect(Basic.Ack)
    broker.kill()
    broker.start()
    assert open_channel(broker).bodies("work") == [b"kept"]


@pytest.mark.parametrize("how", ["killed", "terminated"])
def test_unacknowledged_messages_come_back_redelivered(start_broker: StartBroker, how: str) -> None:
    broker, channel = start_with_messages(start_broker, 4)
    worker = channel.client.channel(2)
    worker.call(Basic.Qos(prefetch_count=2))
    worker.consume("work")
    worker.deliver_many(2)
    worker.expect_silence()
    # A confirmed publish after the delivery carries the journal past it.
    channel.publish(b"4", "work", properties=PERSISTENT)
    channel.expect(Basic.Ack)
    end(broker, how)
    broker.start()
    channel = open_channel(broker)
    assert take_all(channel) == [(at, how == "killed" or at < 2) for at in range(5)]


def test_what_a_crash_has_flagged_stays_flagged(start_broker: StartBroker) -> None:
    broker, channel = start_with_messages(start_broker, 3)
    broker.kill()
    broker.start()
    channel = open_channel(broker)
    publish_confirmed(channel, "work", 2)
    assert broker.terminate() == 0
    broker.start()
    assert take_all(open_channel(broker)) == [(0, True), (1, True), (2, True), (0, False), (1, False)]


def test_a_clean_end_is_believed_once(start_broker: StartBroker) -> None:
    broker, _ = start_with_messages(start_broker, 3)
    assert broker.terminate() == 0
    broker.start()
    # Nothing has to be written before this kill.
    broker.kill()
    broker.start()
    assert take_all(open_channel(broker)) == [(0, True), (1, True), (2, True)]


def test_acknowledged_messages_do_not_come_back_after_a_clean_end(start_broker: StartBroker) -> None:
    broker, channel = start_with_messages(start_broker, 10)
    for _ in range(10):
        assert channel.get("work", no_ack=False) is not None
    channel.send(Basic.Ack(4, multiple=True))
    channel.send(Basic.Reject(6, requeue=False))
    channel.send(Basic.Ack(9))
    channel.expect_silence()
    assert broker.terminate() == 0
    broker.start()
    assert [int(body) for body in open_channel(broker).bodies("work")] == [4, 6, 7, 9]


def test_an_acknowledgement_before_a_confirm_holds_after_a_crash(start_broker: StartBroker) -> None:
    broker, channel = start_with_messages(start_broker, 3)
    assert channel.get("work", no_ack=False) is not None
    channel.send(Basic.Ack(1))
    channel.publish(b"3", "work", properties=PERSISTENT)
    channel.expect(Basic.Ack)
    broker.kill()
    broker.start()
    assert [int(body) for body in open_channel(broker).bodies("work")] == [1, 2, 3]


@pytest.mark.parametrize("how", ["killed", "terminated"])
@pytest.mark.parametrize("kind", ["transient", "exclusive"])
def test_queues_that_do_not_last_are_gone_with_their_messages(start_broker: StartBroker, how: str, kind: str) -> None:
    broker = start_broker()
    channel = open_channel(broker)
    channel.declare_queue("work", durable=kind == "exclusive", exclusive=kind == "exclusive")
    publish_confirmed(channel, "work", 3)
    end(broker, how)
    broker.start()
    text = "NOT_FOUND - no queue 'work' in vhost '/'"
    channel = open_channel(broker).refused(Queue.Declare(queue="work", passive=True), 404, text)
    channel.declare_queue("work", durable=True)
    assert channel.bodies("work") == []


def test_an_uncommitted_transaction_is_gone_and_transient_messages_of_one_too(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = open_channel(broker)
    channel.declare_queue("work", durable=True)
    channel.call(Tx.Select())
    channel.publish(b"transient", "work", properties=TRANSIENT)
    channel.publish(b"persistent", "work", properties=PERSISTENT)
    channel.call(Tx.Commit())
    channel.publish(b"uncommitted", "work", properties=PERSISTENT)
    assert broker.terminate() == 0
    broker.start()
    assert open_channel(broker).bodies("work") == [b"persistent"]


def test_purged_messages_and_deleted_queues_do_not_come_back(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = open_channel(broker)
    for queue in ("purged", "deleted"):
        channel.declare_queue(queue, durable=True)
        channel.publish(b"old", queue, properties=PERSISTENT)
    channel.expect_silence()
    channel.call(Queue.Purge(queue="purged"))
    channel.delete_queue("deleted")
    channel.declare_queue("deleted", durable=True)
    publish_confirmed(channel, "purged", 1)
    broker.kill()
    broker.start()
    channel = open_channel(broker)
    assert channel.bodies("purged") == [b"0"]
    assert channel.bodies("deleted") == []


def test_a_committed_transaction_is_there_as_a_whole(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = open_channel(broker)
    for queue in ("a", "b"):
        channel.declare_queue(queue, durable=True)
    channel.call(Tx.Select())
    for number in range(100):
        channel.publish(str(number).encode(), "ab"[number % 2], properties=PERSISTENT)
    channel.call(Tx.Commit())
    channel.publish(b"uncommitted", "a", properties=PERSISTENT)
    channel.expect_silence()
    broker.kill()
    broker.start()
    channel = open_channel(broker)
    assert [int(body) for body in channel.bodies("a")] == list(range(0, 100, 2))
    assert [int(body) for body in channel.bodies("b")] == list(range(1, 100, 2))


def test_restart_after_restart_changes_nothing(start_broker: StartBroker) -> None:
    broker = start_broker()
    for turn in range(6):
        channel = open_channel(broker)
        channel.declare_queue("work", durable=True)
        channel.publish(str(turn).encode() * 5000, "work", properties=PERSISTENT)
        channel.call(Confirm.Select())
        channel.publish(b"", "work", properties=PERSISTENT)
        channel.expect(Basic.Ack)
        end(broker, "killed" if turn % 3 else "terminated")
        broker.start()
    bodies = open_channel(broker).bodies("work")
    assert bodies == [body for turn in range(6) for body in (str(turn).encode() * 5000, b"")]


def test_properties_and_large_bodies_survive(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = open_channel(broker)
    channel.declare_queue("work", durable=True)
    headers = {"a": 1, "b": [None, {"c": "d"}]}
    properties = Basic.Properties(delivery_mode=2, priority=7, headers=headers, expiration="600000")  # type: ignore[arg-type]
    body = bytes(range(256)) * 80_000
    channel.call(Confirm.Select())
    channel.publish(body, "work", properties=properties)
    channel.expect(Basic.Ack)
    broker.kill()
    broker.start()
    message = open_channel(broker).get("work")
    assert message is not None
    assert message.body == body
    assert message.raw_properties == properties.marshal()


def test_sigterm_tells_the_clients_and_leaves(start_broker: StartBroker) -> None:
    broker = start_broker()
    clients = [broker.connect().open() for _ in range(3)]
    broker.send_signal(signal.SIGTERM)
    for client in clients:
        close = client.expect(Connection.Close)
        text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
        assert (close.reply_code, close.reply_text, close.class_id, close.method_id) == (320, text, 0, 0)
        client.send(Connection.CloseOk())
    assert broker.wait() == 0


def test_a_second_sigterm_waits_for_nobody(start_broker: StartBroker) -> None:
    broker = start_broker({"shutdown-timeout-ms": "60000"})
    client = broker.connect().open()
    broker.send_signal(signal.SIGTERM)
    client.expect(Connection.Close)
    broker.send_signal(signal.SIGTERM)
    broker.wait()
