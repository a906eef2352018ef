"""Publishing: what is returned, what is refused, and what is confirmed."""

import pytest
from pamqp.commands import Basic, Channel, Confirm, Exchange

from tests.support.raw_client import RawChannel


def confirmed(channel: RawChannel, count: int) -> None:
    """Read confirms until the first ``count`` publishes are confirmed, each exactly once."""
    waiting = set(range(1, count + 1))
    while waiting:
        ack = channel.expect(Basic.Ack)
        covered = {tag for tag in waiting if tag <= ack.delivery_tag} if ack.multiple else {ack.delivery_tag}
        assert covered, f"nothing left to confirm by {dict(ack)}"
        assert covered <= waiting, f"confirmed again: {dict(ack)}"
        waiting -= covered


@pytest.mark.parametrize("exchange", ["", "amq.direct", "amq.topic", "amq.headers"])
def test_an_unroutable_mandatory_message_comes_back_as_it_was(channel: RawChannel, name: str, exchange: str) -> None:
    properties = Basic.Properties(content_type="text/plain", headers={"a": 1}, priority=3, message_id="m")
    channel.publish(b"x" * 200_000, name, exchange, properties, mandatory=True)
    returned = channel.receive_message(Basic.Return)
    assert dict(returned.method) == {
        "reply_code": 312,
        "reply_text": "NO_ROUTE",
        "exchange": exchange,
        "routing_key": name,
    }
    assert returned.body == b"x" * 200_000
    assert returned.raw_properties == properties.marshal()


def test_an_unroutable_message_without_mandatory_is_dropped(channel: RawChannel, name: str) -> None:
    channel.publish(b"lost", name)
    channel.publish(b"lost", name, "amq.fanout")
    channel.expect_silence()


def test_a_routable_mandatory_message_is_not_returned(channel: RawChannel, queue: str) -> None:
    channel.publish(b"m", queue, mandatory=True)
    assert channel.bodies(queue) == [b"m"]


def test_immediate_closes_the_connection(channel: RawChannel, queue: str) -> None:
    channel.publish(b"m", queue, immediate=True)
    channel.client.expect_connection_close(540, "NOT_IMPLEMENTED - immediate=true", Basic.Publish)


def test_an_unknown_exchange_closes_the_channel(channel: RawChannel, name: str, queue: str) -> None:
    channel.publish(b"m", queue, name)
    channel.publish(b"ignored", queue)
    channel.expect_channel_close(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'", Basic.Publish)
    assert channel.client.channel(1).bodies(queue) == []


def test_an_exchange_that_is_deleted_is_unknown_at_once(channel: RawChannel, name: str) -> None:
    channel.call(Exchange.Declare(exchange=name))
    channel.publish(b"m", "", name)
    channel.call(Exchange.Delete(exchange=name))
    channel.publish(b"m", "", name)
    channel.expect_channel_close(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'", Basic.Publish)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        (Basic.Properties(expiration="abc"), "invalid expiration 'abc': no_integer"),
        (Basic.Properties(expiration="12a"), "invalid expiration '12a': {leftover_string,\"a\"}"),
        (Basic.Properties(expiration="1.5"), "invalid expiration '1.5': {leftover_string,\".5\"}"),
        (Basic.Properties(expiration="\u0665"), "invalid expiration '\u0665': no_integer"),
        (
            Basic.Properties(expiration="5\u0665"),
            "invalid expiration '5\u0665': {leftover_string,\"\xd9\xa5\"}",
        ),
        (Basic.Properties(expiration='5\n"'), 'invalid expiration \'5\n"\': {leftover_string,"\\n\\""}'),
        (Basic.Properties(expiration="5\0"), "invalid expiration '5\0': {leftover_string,[0]}"),
        (Basic.Properties(expiration="+-5"), "invalid expiration '+-5': no_integer"),
        (Basic.Properties(expiration="-1"), "invalid expiration '-1': {value_negative,-1}"),
        (
            Basic.Properties(expiration="315360000001"),
            "invalid expiration '315360000001': {value_too_large,315360000001}",
        ),
        (Basic.Properties(user_id="bob"), "user_id property set to 'bob' but authenticated user was 'guest'"),
    ],
)
def test_invalid_properties_close_the_channel(
    channel: RawChannel, queue: str, properties: Basic.Properties, reason: str
) -> None:
    channel.publish(b"m", queue, properties=properties)
    channel.expect_channel_close(406, f"PRECONDITION_FAILED - {reason}", Basic.Publish)


def test_valid_expiration_and_user_id_are_taken(channel: RawChannel, queue: str) -> None:
    channel.publish(b"m", queue, properties=Basic.Properties(expiration="60000", user_id="guest"))
    channel.publish(b"n", queue, properties=Basic.Properties(expiration="315360000000"))
    channel.publish(b"o", queue, properties=Basic.Properties(expiration="+60000"))
    assert channel.bodies(queue) == [b"m", b"n", b"o"]


def test_messages_of_a_channel_keep_their_order(channel: RawChannel, queue: str) -> None:
    for number in range(1000):
        channel.publish(str(number).encode(), queue)
    channel.consume(queue, no_ack=True)
    assert channel.deliver_many(1000) == [str(number).encode() for number in range(1000)]


@pytest.mark.parametrize("persistent", [False, True])
def test_every_publish_is_confirmed_once(channel: RawChannel, name: str, persistent: bool) -> None:
    channel.declare_queue(name, durable=True)
    channel.call(Confirm.Select())
    for _ in range(500):
        channel.publish(b"m", name, properties=Basic.Properties(delivery_mode=2 if persistent else 1))
    confirmed(channel, 500)
    channel.expect_silence()
    assert channel.counts(name) == (500, 0)
    channel.delete_queue(name)


def test_one_publish_is_confirmed_without_waiting_for_more(channel: RawChannel, queue: str) -> None:
    channel.call(Confirm.Select())
    for tag in (1, 2, 3):
        channel.publish(b"m", queue)
        assert channel.expect(Basic.Ack).delivery_tag == tag


def test_publishes_are_counted_from_the_first_select(channel: RawChannel, queue: str) -> None:
    channel.publish(b"before", queue)
    channel.call(Confirm.Select())
    channel.publish(b"first", queue)
    assert channel.expect(Basic.Ack).delivery_tag == 1
    channel.send(Confirm.Select(nowait=True))
    channel.call(Confirm.Select())
    channel.publish(b"second", queue)
    assert channel.expect(Basic.Ack).delivery_tag == 2


def test_select_without_waiting_is_not_answered(channel: RawChannel, queue: str) -> None:
    channel.send(Confirm.Select(nowait=True))
    channel.publish(b"first", queue)
    assert channel.expect(Basic.Ack).delivery_tag == 1


def test_channels_confirm_for_themselves(channel: RawChannel, queue: str) -> None:
    other = channel.client.channel(2)
    channel.call(Confirm.Select())
    other.publish(b"unconfirmed", queue)
    other.expect_silence()
    channel.publish(b"confirmed", queue)
    assert channel.expect(Basic.Ack).delivery_tag == 1


@pytest.mark.parametrize("exchange", ["", "amq.fanout"])
def test_the_unroutable_is_returned_before_it_is_confirmed(channel: RawChannel, name: str, exchange: str) -> None:
    channel.call(Confirm.Select())
    channel.publish(b"dropped", name, exchange)
    assert channel.expect(Basic.Ack).delivery_tag == 1
    channel.publish(b"returned", name, exchange, mandatory=True)
    assert channel.receive_message(Basic.Return).body == b"returned"
    assert channel.expect(Basic.Ack).delivery_tag == 2


def test_returns_among_many_publishes_precede_their_confirms(channel: RawChannel, name: str, queue: str) -> None:
    channel.call(Confirm.Select())
    for number in range(100):
        channel.publish(str(number + 1).encode(), queue if number % 2 else name, mandatory=True)
    confirmed_up_to, returned = set(), set()
    while len(confirmed_up_to) < 100:
        arrived = channel.client.receive(channel.number)
        channel.client.put_back([arrived])
        if isinstance(arrived.method, Basic.Return):
            returned.add(int(channel.receive_message(Basic.Return).body))
            continue
        ack = channel.expect(Basic.Ack)
        confirmed_up_to |= set(range(1, ack.delivery_tag + 1)) if ack.multiple else {ack.delivery_tag}
        assert {tag for tag in confirmed_up_to if tag % 2} <= returned


def test_what_closes_the_channel_is_not_confirmed(channel: RawChannel, name: str, queue: str) -> None:
    channel.call(Confirm.Select())
    channel.publish(b"m", queue)
    assert channel.expect(Basic.Ack).delivery_tag == 1
    channel.publish(b"m", queue, name)
    assert channel.expect_any_channel_close() == 404
    again = channel.client.channel(1)
    again.publish(b"not in confirm mode", queue)
    again.expect_silence()


def test_a_closed_channel_confirms_nothing_more(channel: RawChannel, queue: str) -> None:
    channel.call(Confirm.Select())
    for _ in range(50):
        channel.publish(b"m", queue)
    channel.send(Channel.Close(200, "", 0, 0))
    while not isinstance(answer := channel.client.receive(1).method, Channel.CloseOk):
        assert isinstance(answer, Basic.Ack)
    channel.client.channel(1).expect_silence()
