"""A virtual host whose journal is damaged: what is lost is one message or one definition, never a queue or a start."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.commands import Basic

from broker.durability.queue_log import RECORD_KINDS
from broker.durability.record_text import describe
from broker.durability.vhost_state import keep_recovered_queues
from broker.routing.exchange import Binding
from storage.filesystem import LocalFilesystem
from storage.layout import number_in
from storage.survey import RecordSeen, survey_segment
from tests.support.bare_vhost import BareVirtualHost, bodies
from tests.support.in_process import InProcessBroker

PERSISTENT = b"\x10\x00\x02"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[BareVirtualHost]:
    vhost = BareVirtualHost(tmp_path / "journal")
    yield vhost
    vhost.close()


def records_in(directory: Path) -> Iterator[tuple[Path, RecordSeen]]:
    for path in sorted(directory.glob("segment-*")):
        seen: list[RecordSeen] = []
        survey_segment(LocalFilesystem(), path, number_in(path.name, "segment-") or 0, seen.append)
        yield from ((path, record) for record in seen)


def damage(bare: BareVirtualHost | InProcessBroker, kind: str, text: bytes) -> RecordSeen:
    """Damage the first record of a kind that has ``text`` in it."""
    for path, record in records_in(bare.directory):
        if record.kind == RECORD_KINDS[kind] and text in (record.payload or b""):
            with path.open("r+b") as file:
                file.seek(record.offset + 40)
                octet = file.read(1)
                file.seek(record.offset + 40)
                file.write(bytes((octet[0] ^ 1,)))
            return record
    raise AssertionError("there is no such record")


def drop_indexes(directory: Path) -> None:
    """Have the next start read all records."""
    for index in directory.glob("*.index"):
        index.unlink()


def reopen(bare: BareVirtualHost) -> None:
    """Open it again, by reading all records."""
    drop_indexes(bare.directory)
    bare.vhost = bare._open()
    keep_recovered_queues(bare.vhost)


def test_a_damaged_message_costs_that_message(bare: BareVirtualHost) -> None:
    bare.declare("q")
    for number in range(5):
        bare.publish("q", b"message %d" % number)
    bare.close()
    hit = damage(bare, "publish", b"message 2")
    reopen(bare)
    assert bodies(bare.vhost.queues["q"]) == [b"message 0", b"message 1", b"message 3", b"message 4"]
    report = bare.vhost.damage
    assert (report.damage_count, report.lost_record_count) == (1, 1)
    assert report.summary() == "journal of vhost '/': 1 damaged places found at the start"
    (copy,) = (bare.directory / "quarantine").iterdir()
    assert f"-{hit.offset:010}-" in copy.name
    assert copy.stat().st_size == hit.size
    bare.publish("q", b"one more")
    bare.restart()
    assert bodies(bare.vhost.queues["q"])[-2:] == [b"message 4", b"one more"]


def test_damage_behind_an_index_is_found_when_the_message_is_read(bare: BareVirtualHost) -> None:
    bare.declare("q")
    for number in range(5):
        bare.publish("q", b"message %d" % number)
    bare.close()
    damage(bare, "publish", b"message 2")
    damage(bare, "definition", b"q")
    bare.vhost = bare._open()
    # The index has the definition a second time.
    assert bodies(bare.vhost.queues["q"]) == [b"message 0", b"message 1", b"message 3", b"message 4"]
    assert bare.vhost.counters.messages_quarantined == 1
    assert bare.vhost.damage.summary() == "journal of vhost '/': 1 messages quarantined"
    bare.restart()
    assert bodies(bare.vhost.queues["q"]) == [b"message 0", b"message 1", b"message 3", b"message 4"]
    assert bare.vhost.counters.messages_quarantined == 0
    assert len(list((bare.directory / "quarantine").iterdir())) == 1


def test_messages_of_a_queue_whose_declaration_is_lost_are_kept(bare: BareVirtualHost) -> None:
    for name in ("a", "lost", "c"):
        bare.declare(name)
    deleted = bare.declare("deleted")
    for name in ("a", "lost", "c", "deleted"):
        bare.publish(name, name.encode())
    bare.run()
    bare.vhost.delete_queue(deleted)
    bare.close()
    damage(bare, "definition", b"lost")
    for restart in range(3):
        reopen(bare)
        assert sorted(bare.vhost.queues) == ["a", "c", "haypile.recovered.2"]
        assert bodies(bare.vhost.queues["a"]) == [b"a"]
        assert bodies(bare.vhost.queues["c"]) == [b"c"]
        expected = [b"lost", *(b"%d" % number for number in range(restart))]
        assert bodies(bare.vhost.queues["haypile.recovered.2"]) == expected
        bare.publish("haypile.recovered.2", b"%d" % restart)
        bare.close()
    reopen(bare)
    assert bare.vhost.new_queue_number() == 5
    bare.vhost.delete_queue(bare.vhost.queues["haypile.recovered.2"])
    bare.restart()
    assert sorted(bare.vhost.queues) == ["a", "c"]


def test_a_binding_whose_queue_is_lost_is_dropped(bare: BareVirtualHost) -> None:
    queue = bare.declare("lost")
    bare.vhost.bind(Binding(bare.vhost.exchanges["amq.direct"], queue, "key", {}))
    bare.close()
    damage(bare, "definition", b"lost")
    reopen(bare)
    assert bare.vhost.queues == {}
    assert bare.vhost.exchanges["amq.direct"].bindings == {}


def test_a_queue_whose_deletion_is_lost_gives_way_to_its_successor(bare: BareVirtualHost) -> None:
    bare.declare("q")
    bare.publish("q", b"old")
    bare.run()
    bare.vhost.delete_queue(bare.vhost.queues["q"])
    bare.declare("q")
    bare.publish("q", b"new")
    bare.close()
    damage(bare, "definition", b"-queue")
    reopen(bare)
    assert bodies(bare.vhost.queues["q"]) == [b"new"]


def test_what_came_back_is_flagged_though_the_record_of_its_delivery_is_damaged(tmp_path: Path) -> None:
    broker = InProcessBroker(tmp_path)
    channel = broker.connect().channel()
    channel.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})
    channel.publish(b"comes back", "q", properties=PERSISTENT)
    message = channel.get("q", no_ack=False)
    assert message is not None
    broker.settle()
    channel.send(Basic.Nack(message.method.delivery_tag, requeue=True))
    broker.stop()
    damage(broker, "settle", b"")
    drop_indexes(tmp_path)
    broker.start()
    assert broker.vhost.damage.lost_record_count == 1
    queue = broker.vhost.queues["q"]
    assert [(position, redelivered) for position, _, redelivered in queue.entries(0, 10)] == [(1, True)]
    assert queue.delivery_count(1) == 1
    broker.stop()


def test_what_came_back_is_flagged_though_the_record_of_its_return_is_damaged(tmp_path: Path) -> None:
    """It had been delivered when everything was flagged anyway, after a crash, and only the return said so."""
    broker = InProcessBroker(tmp_path)
    channel = broker.connect().channel()
    channel.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})
    channel.publish(b"comes back", "q", properties=PERSISTENT)
    broker.settle()
    broker.crash()
    broker.start()
    channel = broker.connect().channel()
    message = channel.get("q", no_ack=False)
    assert message is not None
    channel.send(Basic.Nack(message.method.delivery_tag, requeue=True))
    broker.settle()
    broker.crash()
    broker.start()
    broker.stop()
    damage(broker, "return", b"")
    drop_indexes(tmp_path)
    broker.start()
    assert broker.vhost.damage.lost_record_count == 1
    assert [redelivered for _, _, redelivered in broker.vhost.queues["q"].entries(0, 10)] == [True]
    broker.stop()


def test_records_are_described(bare: BareVirtualHost) -> None:
    bare.declare("q")
    bare.publish("q", b"four", message_id="x")
    bare.close()
    said = [describe(record.kind, record.payload or b"") for _, record in records_in(bare.directory)]
    assert said[0]["definition"][:3] == ["queue", "q", 1]
    assert said[1] == {
        "queues": [{"number": 1, "position": 1}],
        "exchange": "",
        "routing_key": "q",
        "header_size": 17,
        "body_size": 4,
    }
    assert describe(RECORD_KINDS["publish"], b"\1") == {"unreadable": "the record ends 3 octets early"}
