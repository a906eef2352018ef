"""basic.ack, nack, reject, recover and get: what leaves a queue, and what comes back to which place."""

from collections.abc import Callable

import pytest
from pamqp.base import Frame as Method
from pamqp.commands import Basic, Channel

from tests.conftest import Connect
from tests.support.raw_client import RawChannel


def unknown(tag: int) -> str:
    return f"PRECONDITION_FAILED - unknown delivery tag {tag}"


def fill(channel: RawChannel, queue: str, count: int) -> None:
    for number in range(count):
        channel.publish(str(number).encode(), queue)
    channel.expect_silence()


def take(channel: RawChannel, queue: str, count: int) -> list[int]:
    """Get messages to be acknowledged, and return their delivery tags."""
    messages = [channel.get(queue, no_ack=False) for _ in range(count)]
    return [message.method.delivery_tag for message in messages if message]


def recover_async_method(requeue: bool) -> Method:
    """basic.recover-async, which pamqp builds with a warning that it is deprecated."""
    method = Basic.RecoverAsync.__new__(Basic.RecoverAsync)
    method.requeue = requeue
    return method


def numbers(bodies: list[bytes]) -> list[int]:
    return [int(body) for body in bodies]


def test_get_takes_one_message_and_counts_the_rest(channel: RawChannel, queue: str) -> None:
    fill(channel, queue, 2)
    first, second = channel.get(queue), channel.get(queue)
    assert first is not None
    assert second is not None
    assert dict(first.method) == {
        "delivery_tag": 1,
        "redelivered": False,
        "exchange": "",
        "routing_key": queue,
        "message_count": 1,
    }
    assert (second.body, second.method.delivery_tag, second.method.message_count) == (b"1", 2, 0)
    assert channel.get(queue) is None


def test_getting_from_an_unknown_queue(channel: RawChannel, name: str) -> None:
    channel.refused(Basic.Get(queue=name), 404, f"NOT_FOUND - no queue '{name}' in vhost '/'")


@pytest.mark.parametrize(
    ("settle", "left"),
    [
        (Basic.Ack(2), [0, 2, 3]),
        (Basic.Ack(2, multiple=True), [2, 3]),
        (Basic.Ack(0, multiple=True), []),
        (Basic.Ack(4, multiple=True), []),
        (Basic.Reject(2, requeue=False), [0, 2, 3]),
        (Basic.Reject(2, requeue=True), [0, 1, 2, 3]),
        (Basic.Nack(2, requeue=False), [0, 2, 3]),
        (Basic.Nack(2, multiple=True, requeue=False), [2, 3]),
        (Basic.Nack(2, multiple=True, requeue=True), [0, 1, 2, 3]),
        (Basic.Nack(0, multiple=True, requeue=False), []),
        (Basic.Nack(0, multiple=True, requeue=True), [0, 1, 2, 3]),
    ],
)
def test_what_is_settled_does_not_come_back(channel: RawChannel, queue: str, settle: Method, left: list[int]) -> None:
    fill(channel, queue, 4)
    worker = channel.client.channel(2)
    assert take(worker, queue, 4) == [1, 2, 3, 4]
    worker.send(settle)
    worker.close()
    assert numbers(channel.bodies(queue)) == left


@pytest.mark.parametrize(
    "settle",
    [
        Basic.Ack(5),
        Basic.Ack(0),
        Basic.Ack(5, multiple=True),
        Basic.Nack(5),
        Basic.Nack(5, multiple=True),
        Basic.Reject(5),
        Basic.Reject(0),
        Basic.Ack((1 << 63) - 1),
    ],
    ids=lambda method: f"{method.name} {method.delivery_tag}",
)
def test_an_unknown_delivery_tag_closes_the_channel(channel: RawChannel, queue: str, settle: Method) -> None:
    fill(channel, queue, 2)
    take(channel, queue, 2)
    again = channel.refused(settle, 406, unknown(settle.delivery_tag))  # type: ignore[attr-defined]
    assert numbers(again.bodies(queue)) == [0, 1]


def test_all_of_nothing_may_be_acknowledged(channel: RawChannel) -> None:
    channel.send(Basic.Ack(0, multiple=True))
    channel.send(Basic.Nack(0, multiple=True))
    channel.expect_silence()


@pytest.mark.parametrize("settle", [Basic.Ack(1), Basic.Ack(1, multiple=True), Basic.Nack(1), Basic.Reject(1)])
def test_a_delivery_is_settled_once(channel: RawChannel, queue: str, settle: Method) -> None:
    fill(channel, queue, 2)
    take(channel, queue, 2)
    channel.send(Basic.Ack(1))
    channel.refused(settle, 406, unknown(1))


def test_a_tag_below_an_earlier_multiple_is_unknown(channel: RawChannel, queue: str) -> None:
    fill(channel, queue, 3)
    take(channel, queue, 3)
    channel.send(Basic.Ack(2, multiple=True))
    channel.refused(Basic.Ack(1), 406, unknown(1))


def test_tags_belong_to_their_channel(channel: RawChannel, queue: str) -> None:
    fill(channel, queue, 1)
    take(channel, queue, 1)
    channel.client.channel(2).refused(Basic.Ack(1), 406, unknown(1))


def test_acknowledgements_may_come_in_any_order(channel: RawChannel, queue: str) -> None:
    fill(channel, queue, 100)
    tags = take(channel, queue, 100)
    for tag in tags[1::2] + tags[-2::-2]:
        channel.send(Basic.Ack(tag))
    channel.expect_silence()
    channel.close()
    assert channel.client.channel(1).bodies(queue) == []


def close_channel(worker: RawChannel) -> None:
    worker.close()


def break_channel(worker: RawChannel) -> None:
    worker.refused(Basic.Ack(99), 406, unknown(99))


def reject_in_reverse(worker: RawChannel) -> None:
    for tag in (8, 5, 2):
        worker.send(Basic.Reject(tag, requeue=True))
    worker.expect_silence()
    worker.send(Basic.Nack(0, multiple=True, requeue=True))
    worker.expect_silence()


def recover(worker: RawChannel) -> None:
    worker.call(Basic.Recover(requeue=True))


def recover_async(worker: RawChannel) -> None:
    worker.send(recover_async_method(requeue=True))
    worker.expect_silence()


@pytest.mark.parametrize("put_back", [close_channel, break_channel, reject_in_reverse, recover, recover_async])
def test_what_is_requeued_goes_back_to_where_it_was(
    channel: RawChannel, queue: str, put_back: Callable[[RawChannel], None]
) -> None:
    fill(channel, queue, 12)
    worker = channel.client.channel(2)
    take(worker, queue, 8)
    worker.send(Basic.Ack(4))
    put_back(worker)
    fill(channel, queue, 1)
    messages = list(iter(lambda: channel.get(queue), None))
    assert [int(message.body) for message in messages] == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 0]
    assert [message.method.redelivered for message in messages] == [True] * 7 + [False] * 5


@pytest.mark.parametrize("cut", [False, True])
def test_a_lost_connection_requeues(connect: Connect, channel: RawChannel, name: str, cut: bool) -> None:
    channel.declare_queue(name)
    fill(channel, name, 5)
    worker = connect().open().channel(1)
    worker.consume(name)
    worker.deliver_many(5)
    worker.send(Basic.Ack(2))
    worker.expect_silence()
    if cut:
        worker.client.socket.close()
        while channel.counts(name)[0] != 4:
            pass
    else:
        worker.client.close()
    messages = list(iter(lambda: channel.get(name), None))
    assert [int(message.body) for message in messages] == [0, 2, 3, 4]
    assert all(message.method.redelivered for message in messages)
    channel.delete_queue(name)


def test_a_requeued_message_goes_to_a_waiting_consumer(channel: RawChannel, queue: str) -> None:
    first, second = channel.client.channel(2), channel.client.channel(3)
    first.call(Basic.Qos(prefetch_count=1))
    first.consume(queue)
    fill(channel, queue, 1)
    assert first.deliver().method.redelivered is False
    second.consume(queue)
    first.close()
    message = second.deliver()
    assert (message.body, message.method.redelivered) == (b"0", True)


def test_a_consumer_may_get_back_what_it_rejects(channel: RawChannel, queue: str) -> None:
    channel.consume(queue)
    channel.publish(b"again", queue)
    for tag in range(1, 6):
        message = channel.deliver()
        assert (message.method.delivery_tag, message.method.redelivered) == (tag, tag > 1)
        channel.send(Basic.Reject(tag, requeue=True))


def test_recover_redelivers_to_the_consumers(channel: RawChannel, queue: str) -> None:
    channel.consume(queue)
    for body in (b"a", b"b", b"c"):
        channel.publish(body, queue)
    channel.deliver_many(3)
    channel.send(Basic.Ack(2))
    channel.call(Basic.Recover(requeue=True))
    again = [channel.deliver() for _ in range(2)]
    assert [(message.body, message.method.redelivered) for message in again] == [(b"a", True), (b"c", True)]
    assert [message.method.delivery_tag for message in again] == [4, 5]
    channel.expect_silence()


def test_recover_of_nothing(channel: RawChannel) -> None:
    channel.call(Basic.Recover(requeue=True))
    channel.send(recover_async_method(requeue=True))
    channel.expect_silence()


@pytest.mark.parametrize("method", [Basic.Recover(requeue=False), recover_async_method(requeue=False)])
def test_recover_without_requeueing_is_not_implemented(channel: RawChannel, method: Method) -> None:
    channel.send(method)
    channel.client.expect_connection_close(540, "NOT_IMPLEMENTED - requeue=false", type(method))


def test_a_message_in_two_queues_is_settled_in_each(channel: RawChannel, name: str) -> None:
    queues = [channel.declare_queue(exclusive=True) for _ in range(2)]
    for queue in queues:
        channel.bind(queue, "amq.direct", name)
    channel.publish(b"twice", name, "amq.direct")
    channel.expect_silence()
    take(channel, queues[0], 1)
    channel.send(Basic.Ack(1))
    assert channel.bodies(queues[1]) == [b"twice"]
    assert channel.bodies(queues[0]) == []


def test_acknowledgements_of_several_queues_at_once(channel: RawChannel) -> None:
    queues = [channel.declare_queue(exclusive=True) for _ in range(3)]
    for number in range(9):
        channel.publish(str(number).encode(), queues[number % 3])
    channel.expect_silence()
    for queue in queues:
        take(channel, queue, 3)
    channel.send(Basic.Nack(5, multiple=True, requeue=True))
    channel.send(Basic.Ack(0, multiple=True))
    channel.call(Channel.Flow(active=True))
    assert [numbers(channel.bodies(queue)) for queue in queues] == [[0, 3, 6], [1, 4], []]
