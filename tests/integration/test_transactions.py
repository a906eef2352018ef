"""The tx class: publishes and acknowledgements that take effect together, or not at all."""

import pytest
from pamqp.base import Frame as Method
from pamqp.commands import Basic, Channel, Confirm, Exchange, Tx

from tests.conftest import Connect
from tests.support.raw_client import RawChannel, RawClient


@pytest.fixture
def transactional(channel: RawChannel) -> RawChannel:
    channel.call(Tx.Select())
    return channel


def test_published_messages_wait_for_the_commit(transactional: RawChannel, queue: str) -> None:
    for body in (b"a", b"b"):
        transactional.publish(body, queue)
    assert transactional.bodies(queue) == []
    transactional.call(Tx.Commit())
    assert transactional.bodies(queue) == [b"a", b"b"]
    transactional.publish(b"c", queue)
    assert transactional.bodies(queue) == []
    transactional.call(Tx.Commit())
    assert transactional.bodies(queue) == [b"c"]


def test_a_rollback_forgets_what_was_published(transactional: RawChannel, queue: str) -> None:
    transactional.publish(b"forgotten", queue)
    transactional.call(Tx.Rollback())
    transactional.publish(b"kept", queue)
    transactional.call(Tx.Commit())
    assert transactional.bodies(queue) == [b"kept"]


@pytest.mark.parametrize("durable", [False, True])
def test_a_commit_reaches_all_its_queues(transactional: RawChannel, name: str, durable: bool) -> None:
    queues = [transactional.declare_queue(f"{name}-{number}", durable=durable) for number in range(5)]
    for number in range(100):
        properties = Basic.Properties(delivery_mode=2)
        transactional.publish(str(number).encode(), queues[number % 5], properties=properties)
    transactional.call(Tx.Commit())
    assert [transactional.counts(queue)[0] for queue in queues] == [20] * 5
    for queue in queues:
        transactional.delete_queue(queue)


def test_acknowledgements_wait_for_the_commit(transactional: RawChannel, queue: str) -> None:
    other = transactional.client.channel(2)
    for number in range(4):
        other.publish(str(number).encode(), queue)
    other.expect_silence()
    tags = [
        message.method.delivery_tag for message in (transactional.get(queue, no_ack=False) for _ in range(4)) if message
    ]
    transactional.send(Basic.Ack(tags[0]))
    transactional.send(Basic.Reject(tags[1], requeue=True))
    transactional.send(Basic.Nack(tags[2], requeue=False))
    transactional.expect_silence()
    assert other.counts(queue) == (0, 0)
    transactional.call(Tx.Commit())
    assert other.bodies(queue) == [b"1"]
    transactional.close()
    assert other.bodies(queue) == [b"3"]


def test_a_rollback_takes_acknowledgements_back(transactional: RawChannel, queue: str) -> None:
    other = transactional.client.channel(2)
    other.publish(b"m", queue)
    other.expect_silence()
    message = transactional.get(queue, no_ack=False)
    assert message is not None
    tag = message.method.delivery_tag
    transactional.send(Basic.Ack(tag))
    transactional.call(Tx.Rollback())
    assert other.bodies(queue) == []
    transactional.send(Basic.Ack(tag))
    transactional.call(Tx.Commit())
    transactional.close()
    assert other.bodies(queue) == []


def test_an_acknowledgement_cannot_be_given_twice(transactional: RawChannel, queue: str) -> None:
    transactional.client.channel(2).publish(b"m", queue)
    transactional.client.channel(3)
    while (message := transactional.get(queue, no_ack=False)) is None:
        continue
    transactional.send(Basic.Ack(message.method.delivery_tag))
    text = f"PRECONDITION_FAILED - unknown delivery tag {message.method.delivery_tag}"
    again = transactional.refused(Basic.Ack(message.method.delivery_tag), 406, text)
    again.consume(queue, no_ack=True)
    assert again.deliver().method.redelivered is True


@pytest.mark.parametrize("cut", [False, True])
def test_what_was_not_committed_is_gone_with_the_channel(
    connect: Connect, channel: RawChannel, name: str, cut: bool
) -> None:
    channel.declare_queue(name, auto_delete=True)
    transactional = connect().open().channel(1)
    transactional.call(Tx.Select())
    transactional.publish(b"uncommitted", name)
    transactional.expect_silence()
    if cut:
        transactional.client.socket.close()
    else:
        transactional.client.close()
    channel.publish(b"next", name)
    channel.consume(name, no_ack=True)
    assert channel.deliver().body == b"next"


def test_the_unroutable_is_returned_by_the_commit(transactional: RawChannel, name: str) -> None:
    transactional.publish(b"returned", name, mandatory=True)
    transactional.expect_silence()
    transactional.send(Tx.Commit())
    assert transactional.receive_message(Basic.Return).body == b"returned"
    transactional.expect(Tx.CommitOk)


def test_an_unknown_exchange_is_refused_at_once(transactional: RawChannel, name: str, queue: str) -> None:
    transactional.publish(b"m", queue)
    transactional.publish(b"m", queue, name)
    transactional.expect_channel_close(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'", Basic.Publish)
    assert transactional.client.channel(1).bodies(queue) == []


def test_a_commit_of_nothing(transactional: RawChannel) -> None:
    transactional.call(Tx.Select())
    transactional.call(Tx.Commit())
    transactional.call(Tx.Rollback())
    transactional.call(Channel.Flow(active=True))


@pytest.mark.parametrize("method", [Tx.Commit(), Tx.Rollback()], ids=lambda method: method.name)
def test_a_transaction_must_be_selected(channel: RawChannel, method: Method) -> None:
    channel.refused(method, 406, "PRECONDITION_FAILED - channel is not transactional")


def test_confirms_cannot_become_transactions(channel: RawChannel) -> None:
    channel.call(Confirm.Select())
    channel.refused(Tx.Select(), 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode")


def test_transactions_cannot_become_confirms(transactional: RawChannel) -> None:
    text = "PRECONDITION_FAILED - cannot switch from tx to confirm mode"
    transactional.refused(Confirm.Select(), 406, text)


def test_an_exchange_that_goes_before_the_commit_refuses_all_of_it(client: RawClient, name: str) -> None:
    channel, other = client.channel(11), client.channel(12)
    queue = other.declare_queue(durable=True)
    other.call(Exchange.Declare(exchange=name))
    channel.call(Tx.Select())
    channel.publish(b"first", queue)
    channel.publish(b"second", "key", name)
    other.call(Exchange.Delete(exchange=name))
    channel.send(Tx.Commit())
    channel.expect_channel_close(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'")
    # Nothing of it happened, and the journal goes on.
    other.call(Confirm.Select())
    other.publish(b"later", queue, properties=b"\x10\x00\x02")
    other.expect(Basic.Ack)
    assert other.bodies(queue) == [b"later"]
