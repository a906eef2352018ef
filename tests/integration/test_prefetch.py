"""basic.qos: how many unacknowledged deliveries a consumer, or a channel, may hold."""

from pamqp.commands import Basic

from tests.support.raw_client import RawChannel


def fill(channel: RawChannel, queue: str, count: int) -> None:
    for number in range(count):
        channel.publish(str(number).encode(), queue)
    channel.expect_silence()


def held(channel: RawChannel, queue: str, total: int) -> int:
    """How many of the messages are out with consumers, once nothing moves: what is not ready is held."""
    return total - channel.counts(queue)[0]


def test_a_consumer_holds_no_more_than_its_prefetch_count(channel: RawChannel, queue: str) -> None:
    consumer = channel.client.channel(2)
    consumer.call(Basic.Qos(prefetch_count=3))
    consumer.consume(queue)
    fill(channel, queue, 10)
    assert consumer.deliver_many(3) == [b"0", b"1", b"2"]
    assert held(channel, queue, 10) == 3
    consumer.expect_silence()
    consumer.send(Basic.Ack(1))
    assert consumer.deliver().body == b"3"
    consumer.expect_silence()
    consumer.send(Basic.Ack(4, multiple=True))
    assert consumer.deliver_many(3) == [b"4", b"5", b"6"]
    consumer.expect_silence()


def test_each_consumer_has_its_own_count(channel: RawChannel, queue: str) -> None:
    consumer = channel.client.channel(2)
    consumer.call(Basic.Qos(prefetch_count=2))
    consumer.consume(queue, "two")
    consumer.call(Basic.Qos(prefetch_count=1))
    consumer.consume(queue, "one")
    fill(channel, queue, 10)
    tags = sorted(consumer.deliver().method.consumer_tag for _ in range(3))
    assert tags == ["one", "two", "two"]
    consumer.expect_silence()
    assert held(channel, queue, 10) == 3


def test_a_new_count_does_not_change_old_consumers(channel: RawChannel, queue: str) -> None:
    consumer = channel.client.channel(2)
    consumer.call(Basic.Qos(prefetch_count=1))
    consumer.consume(queue)
    consumer.call(Basic.Qos(prefetch_count=5))
    fill(channel, queue, 10)
    consumer.deliver()
    consumer.expect_silence()
    assert held(channel, queue, 10) == 1


def test_without_a_count_everything_is_delivered(channel: RawChannel, queue: str) -> None:
    consumer = channel.client.channel(2)
    consumer.call(Basic.Qos(prefetch_count=0))
    consumer.consume(queue)
    fill(channel, queue, 300)
    assert len(consumer.deliver_many(300)) == 300


def test_a_global_count_is_shared_by_the_consumers_of_a_channel(channel: RawChannel, queue: str) -> None:
    consumer = channel.client.channel(2)
    consumer.call(Basic.Qos(prefetch_count=3, global_=True))
    for _ in range(2):
        consumer.consume(queue)
    fill(channel, queue, 10)
    tags = [consumer.deliver().method.delivery_tag for _ in range(3)]
    consumer.expect_silence()
    assert held(channel, queue, 10) == 3
    consumer.send(Basic.Ack(tags[0]))
    consumer.deliver()
    consumer.expect_silence()
    assert held(channel, queue, 10) == 4


def test_a_global_count_takes_effect_on_consumers_that_are_there(channel: RawChannel, queue: str) -> None:
    consumer = channel.client.channel(2)
    consumer.consume(queue)
    consumer.call(Basic.Qos(prefetch_count=2, global_=True))
    fill(channel, queue, 10)
    consumer.deliver_many(2)
    consumer.expect_silence()
    consumer.call(Basic.Qos(prefetch_count=4, global_=True))
    consumer.deliver_many(2)
    consumer.expect_silence()
    consumer.call(Basic.Qos(prefetch_count=0, global_=True))
    assert len(consumer.deliver_many(6)) == 6


def test_both_counts_hold_at_once(channel: RawChannel, queue: str) -> None:
    consumer = channel.client.channel(2)
    consumer.call(Basic.Qos(prefetch_count=2))
    consumer.call(Basic.Qos(prefetch_count=3, global_=True))
    for _ in range(2):
        consumer.consume(queue)
    fill(channel, queue, 10)
    consumer.deliver_many(3)
    consumer.expect_silence()
    assert held(channel, queue, 10) == 3


def test_a_count_per_consumer_ends_the_global_one(channel: RawChannel, queue: str) -> None:
    consumer = channel.client.channel(2)
    consumer.call(Basic.Qos(prefetch_count=1, global_=True))
    consumer.call(Basic.Qos(prefetch_count=4))
    consumer.consume(queue)
    fill(channel, queue, 10)
    consumer.deliver_many(4)
    consumer.expect_silence()


def test_other_consumers_get_what_a_full_one_cannot_take(channel: RawChannel, queue: str) -> None:
    full, free = channel.client.channel(2), channel.client.channel(3)
    full.call(Basic.Qos(prefetch_count=1))
    full.consume(queue)
    free.consume(queue)
    fill(channel, queue, 10)
    taken, rest = full.deliver().body, free.deliver_many(9)
    assert sorted([taken, *rest]) == [str(number).encode() for number in range(10)]


def test_basic_get_is_not_limited(channel: RawChannel, queue: str) -> None:
    channel.call(Basic.Qos(prefetch_count=1))
    fill(channel, queue, 3)
    bodies = [message.body for message in (channel.get(queue, no_ack=False) for _ in range(3)) if message]
    assert bodies == [b"0", b"1", b"2"]


def test_a_rejected_delivery_makes_room(channel: RawChannel, queue: str) -> None:
    consumer = channel.client.channel(2)
    consumer.call(Basic.Qos(prefetch_count=1))
    consumer.consume(queue)
    fill(channel, queue, 3)
    assert consumer.deliver().body == b"0"
    consumer.send(Basic.Reject(1, requeue=False))
    assert consumer.deliver().body == b"1"
    consumer.send(Basic.Nack(2, requeue=False))
    assert consumer.deliver().body == b"2"


def test_a_prefetch_size_is_not_implemented(channel: RawChannel) -> None:
    channel.send(Basic.Qos(prefetch_size=10, prefetch_count=1))
    channel.client.expect_connection_close(540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)", Basic.Qos)


def test_the_count_belongs_to_its_channel(channel: RawChannel, queue: str) -> None:
    first, second = channel.client.channel(2), channel.client.channel(3)
    first.call(Basic.Qos(prefetch_count=1, global_=True))
    second.consume(queue)
    fill(channel, queue, 5)
    assert len(second.deliver_many(5)) == 5
