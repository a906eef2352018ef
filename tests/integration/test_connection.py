"""The connection class, channel numbers, and the opening and closing of channels."""

import pytest
from pamqp.base import Frame as Method
from pamqp.commands import Basic, Channel, Connection, Queue

from tests.conftest import Connect
from tests.support.raw_client import RawChannel, RawClient

NOT_OPENED = "CHANNEL_ERROR - expected 'channel.open'"


def test_connection_close_is_answered(client: RawClient) -> None:
    client.channel(1)
    client.close()


def test_frames_after_connection_close_are_ignored(client: RawClient, channel: RawChannel) -> None:
    client.send(Connection.Close(200, "", 0, 0))
    channel.send(Channel.Flow(active=False))
    client.expect(Connection.CloseOk)


def test_frames_after_the_brokers_connection_close_are_ignored(client: RawClient, channel: RawChannel) -> None:
    channel.send(Channel.Flow(active=False))
    channel.send(Basic.Qos())
    client.send(Channel.Open(), 2)
    client.expect_connection_close(540, "NOT_IMPLEMENTED - active=false", Channel.Flow)


def test_connection_close_crossing_the_brokers_is_answered(client: RawClient, channel: RawChannel) -> None:
    channel.send(Channel.Flow(active=False))
    client.expect(Connection.Close)
    client.send(Connection.Close(200, "", 0, 0))
    client.expect(Connection.CloseOk)


def test_update_secret_is_answered(client: RawClient) -> None:
    client.send(Connection.UpdateSecret(new_secret="guest", reason="renewed"))
    client.expect(Connection.UpdateSecretOk)
    client.channel(1)


@pytest.mark.parametrize(
    "method",
    [
        Connection.Open(virtual_host="/"),
        Connection.TuneOk(channel_max=1, frame_max=8192, heartbeat=0),
        Connection.StartOk(mechanism="PLAIN", response="", locale="en_US"),
        Channel.Open(),
        Basic.Qos(),
        Queue.Declare(queue="x"),
    ],
    ids=lambda method: method.name,
)
def test_methods_out_of_place_on_channel_0_close_the_connection(client: RawClient, method: Method) -> None:
    client.send(method)
    client.expect_connection_close(504, "CHANNEL_ERROR - unexpected method in connection state running", type(method))


@pytest.mark.parametrize(
    "method",
    [
        Connection.Close(200, "", 0, 0),
        Connection.UpdateSecret(new_secret="x", reason=""),
        Channel.FlowOk(active=True),
        Queue.DeclareOk("x", 0, 0),
        Basic.ConsumeOk("x"),
        Basic.GetEmpty(),
    ],
    ids=lambda method: method.name,
)
def test_methods_that_no_client_sends_on_a_channel_close_the_connection(channel: RawChannel, method: Method) -> None:
    channel.send(method)
    channel.client.expect_connection_close(503, "COMMAND_INVALID - unimplemented method", type(method))


@pytest.mark.parametrize(
    "method",
    [Basic.Qos(), Queue.Declare(queue="x"), Channel.Close(200, "", 0, 0), Channel.CloseOk(), Channel.Flow(active=True)],
    ids=lambda method: method.name,
)
def test_a_method_on_a_channel_that_is_not_open_closes_the_connection(client: RawClient, method: Method) -> None:
    client.send(method, 7)
    client.expect_connection_close(504, NOT_OPENED, type(method))


def test_a_channel_is_opened_only_once(channel: RawChannel) -> None:
    channel.send(Channel.Open())
    channel.client.expect_connection_close(504, "CHANNEL_ERROR - second 'channel.open' seen", Channel.Open)


def test_a_channel_number_can_be_used_again(client: RawClient, channel: RawChannel) -> None:
    channel.call(Channel.Close(200, "", 0, 0))
    client.channel(1).declare_queue(exclusive=True)


def test_a_closed_channel_is_unknown_again(client: RawClient, channel: RawChannel) -> None:
    channel.call(Channel.Close(200, "", 0, 0))
    channel.send(Basic.Qos())
    client.expect_connection_close(504, NOT_OPENED, Basic.Qos)


def test_more_channels_than_negotiated_close_the_connection(connect: Connect) -> None:
    client = connect().open(channel_max=2)
    client.channel(1)
    client.channel(2)
    client.send(Channel.Open(), 3)
    client.expect_connection_close(
        530, "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)"
    )


def test_closed_channels_do_not_count(connect: Connect) -> None:
    client = connect().open(channel_max=1)
    for number in (1, 2, 3):
        client.channel(number).call(Channel.Close(200, "", 0, 0))


def test_channels_do_not_disturb_each_other(client: RawClient, name: str) -> None:
    first, second = client.channel(1), client.channel(2)
    first.refused(Queue.Declare(queue=name, passive=True), 404, f"NOT_FOUND - no queue '{name}' in vhost '/'")
    second.declare_queue(name, exclusive=True)


def test_methods_on_a_channel_that_the_broker_closes_are_ignored(channel: RawChannel, name: str) -> None:
    channel.send(Queue.Declare(queue=name, passive=True))
    channel.send(Queue.Declare(queue=name, exclusive=True))
    channel.publish(b"lost", name)
    channel.expect_channel_close(404, f"NOT_FOUND - no queue '{name}' in vhost '/'", Queue.Declare)
    again = channel.client.channel(1)
    again.refused(Queue.Declare(queue=name, passive=True), 404, f"NOT_FOUND - no queue '{name}' in vhost '/'")


def test_channel_close_crossing_the_brokers_is_answered(channel: RawChannel, name: str) -> None:
    channel.send(Queue.Declare(queue=name, passive=True))
    channel.expect(Channel.Close)
    channel.call(Channel.Close(200, "", 0, 0))
    channel.send(Channel.CloseOk())
    channel.client.channel(1)


def test_flow_cannot_be_stopped(channel: RawChannel) -> None:
    assert channel.call(Channel.Flow(active=True)).active is True
    channel.send(Channel.Flow(active=False))
    channel.client.expect_connection_close(540, "NOT_IMPLEMENTED - active=false", Channel.Flow)
