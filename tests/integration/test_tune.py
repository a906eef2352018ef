"""What connection.tune proposes, and which answers are taken."""

import pytest
from pamqp.commands import Connection

from tests.conftest import Connect
from tests.support.raw_client import RawClient


def tuned(client: RawClient, **answer: int) -> None:
    client.start()
    client.log_in()
    client.tune_ok(**answer)
    client.send(Connection.Open(virtual_host="/"))


def test_the_proposal_is_that_of_rabbitmq(connect: Connect) -> None:
    client = connect().open()
    assert dict(client.tune) == {"channel_max": 2047, "frame_max": 131072, "heartbeat": 60}


@pytest.mark.parametrize(
    "answer",
    [{"channel_max": 1}, {"channel_max": 2047}, {"frame_max": 8192}, {"frame_max": 131072}, {"heartbeat": 600}],
)
def test_the_client_may_ask_for_less(connect: Connect, answer: dict[str, int]) -> None:
    client = connect()
    tuned(client, **answer)
    client.expect(Connection.OpenOk)
    client.channel(1)


def test_frame_max_may_be_as_small_as_the_specification_allows(connect: Connect) -> None:
    client = connect()
    tuned(client, frame_max=4096)
    client.expect(Connection.OpenOk)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ({"channel_max": 0}, "channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"),
        ({"channel_max": 2048}, "channel_max = 2048 is higher than the maximum allowed value (2047)"),
        ({"frame_max": 0}, "frame_max = 0 is higher than the maximum allowed value (131072)"),
        ({"frame_max": 131073}, "frame_max = 131073 is higher than the maximum allowed value (131072)"),
        ({"frame_max": 4095}, "frame_max = 4095 is lower than the minimum allowed value (4096)"),
        ({"frame_max": 1}, "frame_max = 1 is lower than the minimum allowed value (4096)"),
    ],
)
@pytest.mark.since_rabbitmq_4
def test_what_exceeds_the_proposal_is_refused(connect: Connect, answer: dict[str, int], detail: str) -> None:
    client = connect()
    tuned(client, **answer)
    client.expect_connection_close(530, f"NOT_ALLOWED - negotiated {detail}", Connection.Tune)


def test_deliveries_keep_to_the_negotiated_frame_max(connect: Connect, name: str) -> None:
    publisher = connect().open().channel(1)
    consumer = connect().open(frame_max=4096).channel(1)
    queue = consumer.declare_queue(name, auto_delete=True)
    consumer.consume(queue, no_ack=True)
    body = bytes(range(256)) * 100
    publisher.publish(body, queue)
    message = consumer.deliver()
    assert message.body == body
    assert max(message.body_frame_sizes) <= 4096 - 8
