"""Many queues: they share one stream of syncs, cost no files of their own, and nobody waits while they come and go."""

import os
from pathlib import Path

from pamqp.commands import Basic, Channel, Confirm, Connection
from pamqp.commands import Queue as QueueMethods
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import StartBroker
from tests.integration.test_daemon import get
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawChannel, RawClient, content, frame, method_payload

QUEUE_COUNT = 10_000
QUEUE_BYTES_MAX = 2048
SYNC_COUNT_MAX = QUEUE_COUNT // 50
PERSISTENT = b"\x10\x00\x02"
CHURN_COUNT = 2_000
PIPELINE_COUNT = 3_000


def sync_count(broker: BrokerProcess) -> float:
    families = text_string_to_metric_families(get(broker.metrics_address, "/metrics")[1])
    return sum(
        sample.value for family in families for sample in family.samples if sample.name == "rabbitmq_io_sync_ops_total"
    )


def pipelined(channel: RawChannel, methods: list[QueueMethods.Declare] | list[QueueMethods.Delete]) -> None:
    """Send all methods, and then read all answers."""
    channel.client.send_bytes(b"".join(frame(1, channel.number, method_payload(method)) for method in methods))
    for method in methods:
        assert channel.client.receive(channel.number).method.name in method.valid_responses


def resident_bytes(broker: BrokerProcess) -> int:
    pages = int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def files_of(broker: BrokerProcess) -> list[Path]:
    return [path for path in broker.data_directory.rglob("*") if path.is_file()]


def test_ten_thousand_queues_share_their_syncs(start_broker: StartBroker) -> None:
    broker = start_broker()
    with RawClient(broker.address, 30.0) as client:
        channel = client.open().channel(1)
        before = sync_count(broker)
        names = [f"q{number}" for number in range(QUEUE_COUNT)]
        pipelined(channel, [QueueMethods.Declare(queue=name, durable=True) for name in names])
        declared = sync_count(broker)
        assert declared - before < SYNC_COUNT_MAX
        channel.call(Confirm.Select())
        client.send_bytes(
            b"".join(
                frame(1, 1, method_payload(Basic.Publish(routing_key=name))) + content(1, b"body", PERSISTENT)
                for name in names
            )
        )
        confirmed = 0
        while confirmed < QUEUE_COUNT:
            confirmed = channel.expect(Basic.Ack).delivery_tag
        assert sync_count(broker) - declared < SYNC_COUNT_MAX
    broker.kill()
    broker.start()
    with RawClient(broker.address, 30.0) as client:
        channel = client.open().channel(1)
        assert [channel.counts(name)[0] for name in names[::500]] == [1] * len(names[::500])


def test_a_queue_costs_little_memory(start_broker: StartBroker) -> None:
    broker = start_broker()
    with RawClient(broker.address, 30.0) as client:
        channel = client.open().channel(1)
        # What the first ones need once is not theirs.
        pipelined(channel, [QueueMethods.Declare(queue=f"first-{number}", durable=True) for number in range(2000)])
        before = resident_bytes(broker)
        limits = {"x-max-length": 1000, "x-overflow": "reject-publish"}
        methods = [
            QueueMethods.Declare(
                queue=f"queue.number.{number:07}", durable=True, arguments=limits if number % 2 else {}
            )
            for number in range(QUEUE_COUNT)
        ]
        pipelined(channel, methods)
        assert (resident_bytes(broker) - before) / QUEUE_COUNT < QUEUE_BYTES_MAX


def test_queues_that_come_and_go_leave_no_files(start_broker: StartBroker) -> None:
    broker = start_broker({"journal-segment-size-bytes": str(1 << 20)})
    with RawClient(broker.address, 30.0) as client:
        channel = client.open().channel(1)
        before = len(files_of(broker))
        for _ in range(5):
            names = [f"q{number}" for number in range(CHURN_COUNT)]
            pipelined(channel, [QueueMethods.Declare(queue=name, durable=True) for name in names])
            # Segments at most, however many queues there are.
            assert len(files_of(broker)) < before + 20
            pipelined(channel, [QueueMethods.Delete(queue=name) for name in names])


def test_others_have_their_turn_while_methods_are_pipelined(start_broker: StartBroker) -> None:
    broker = start_broker()
    with RawClient(broker.address, 30.0) as busy, RawClient(broker.address, 30.0) as other:
        channel, witness = busy.open().channel(1), other.open().channel(1)
        methods = [QueueMethods.Declare(queue=f"q{number}", durable=True) for number in range(PIPELINE_COUNT)]
        last = methods[-1].queue
        busy.send_bytes(b"".join(frame(1, 1, method_payload(method)) for method in methods))
        answers = 0
        # That many fit into the read buffer at once, and still the other one is answered long before the end.
        while not exists(other, witness, last):
            witness = other.channel(1)
            answers += 1
        assert answers >= 3
        for _ in methods:
            channel.expect(QueueMethods.DeclareOk)


def exists(client: RawClient, channel: RawChannel, name: str) -> bool:
    """Whether there is such a queue; the channel is closed if there is none."""
    channel.send(QueueMethods.Declare(queue=name, passive=True))
    answer = client.receive(channel.number).method
    if isinstance(answer, QueueMethods.DeclareOk):
        return True
    channel.send(Channel.CloseOk())
    return False


def test_a_connection_may_close_behind_many_methods(start_broker: StartBroker) -> None:
    broker = start_broker()
    with RawClient(broker.address, 30.0) as client:
        client.open().channel(1)
        methods = [QueueMethods.Declare(queue=f"q{number}", nowait=True) for number in range(250)]
        last = frame(1, 0, method_payload(Connection.Close(200, "", 0, 0)))
        client.send_bytes(b"".join(frame(1, 1, method_payload(method)) for method in methods) + last)
        client.expect(Connection.CloseOk)
        client.expect_end()
    with RawClient(broker.address, 30.0) as client:
        assert client.open().channel(1).counts("q249") == (0, 0)
    broker.terminate()
    assert "error" not in broker.log_text
