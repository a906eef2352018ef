"""Makes the golden journals of the current format version: ``python -m tests.golden.make_journal DIRECTORY``.

There is one with records that mean nothing, and one of a virtual host, with every kind of record that the broker has.
Run once for each format version, when it is released. What it made is never changed: the tests open it for ever.
"""

import json
import select
import shutil
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from pamqp.commands import Basic, Exchange, Tx

from broker.durability.slices import snapshot_in_slices
from broker.policy import validate_policy
from broker.vhost import VirtualHost
from storage.checkpoint import Checkpoint, write_checkpoint
from storage.errors import JournalFailed
from storage.filesystem import LocalFilesystem
from storage.journal import Journal
from storage.layout import FORMAT_VERSION, segment_path
from storage.options import JournalOptions
from storage.recovery import Recovery
from tests.support.bare_vhost import BareVirtualHost, bodies
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawChannel

OPTIONS = JournalOptions(segment_size=4096, first_segment_size=4096, spare_files_max=0)
STATE = 128
POLL_SECONDS = 0.1
TTL_MS = 10 * 365 * 24 * 3600 * 1000
"""The longest that RabbitMQ allows: until then the golden virtual host keeps its timed messages."""
PERSISTENT = Basic.Properties(delivery_mode=2)


def in_one_go(slices: Generator[None, None, Sequence[bytes]]) -> Sequence[bytes]:
    """Return what a generator of slices returns in the end."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            pieces: Sequence[bytes] = end.value
            return pieces


def stop(error: JournalFailed) -> None:
    """End the program: there is no disk to make a golden journal on."""
    raise error


def snapshot() -> Generator[None, None, list[bytes]]:
    """Encode the owner's state, in two slices."""
    yield
    return [b"golden ", b"state"]


def make(directory: Path) -> None:
    """Write a journal with units, roll-overs, a checkpoint, reclaimed segments, two epochs and a clean stop."""
    for life in range(2):
        recovery = Recovery(directory)
        for _ in recovery.records():
            pass
        journal = Journal(recovery, durable=int, failed=stop, snapshot=snapshot, options=OPTIONS)
        for segment in recovery.segments:
            journal.retain(segment)
        for number in range(12):
            journal.append(STATE, b"state %d.%d" % (life, number), unit_ends=False)
            journal.append(1, bytes([number]) * (97 * number), unit_ends=True)
            if life == 1 or number > 7:
                journal.retain(journal.current)
            commit(journal)
        while life == 0 and segment_path(directory, 1).exists():
            select.select([journal.completion_fd], [], [], POLL_SECONDS)
            journal.on_commit_finished()
        journal.close()
    recovery = Recovery(directory)
    records = [[kind, sequence, payload.hex()] for kind, sequence, payload, _ in recovery.records()]
    assert recovery.checkpoint is not None
    expected = {
        "checkpoint": [recovery.checkpoint.sequence, recovery.checkpoint.payload.decode()],
        "sequence": recovery.sequence,
        "epoch": recovery.epoch,
        "records": records,
    }
    (directory / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def commit(journal: Journal) -> None:
    """Commit, and let the journal do what follows from it."""
    target = journal.sequence
    journal.commit()
    while journal.durable_sequence < target:
        select.select([journal.completion_fd], [], [])
        journal.on_commit_finished()


def make_vhost(directory: Path) -> None:
    """Write the journal of a virtual host, by a broker and its clients, with a checkpoint in its middle."""
    with tempfile.TemporaryDirectory() as temporary:
        process = BrokerProcess(Path(temporary) / "data", {"journal-segment-size-bytes": str(1 << 20)})
        process.start()
        client = process.connect().open()
        use(client.channel())
        client.close()
        process.terminate()
        (written,) = (Path(temporary) / "data" / "vhosts").iterdir()
        bare = BareVirtualHost(written)
        bare.run()
        sequence, pieces = bare.vhost.journal.journal.sequence, in_one_go(snapshot_in_slices(bare.vhost))
        bare.close()
        write_checkpoint(
            LocalFilesystem(), written, Checkpoint(sequence, 2, pieces, sequence), lambda: None, time.time_ns() // 1000
        )
        bare = BareVirtualHost(written)
        bare.vhost.put_policy(validate_policy("limits", "^p", {"max-length": 100}))
        bare.declare("late")
        bare.publish("late", b"behind the checkpoint")
        bare.close()
        Recovery(written).apply()
        for spare in written.glob("spare-*"):
            spare.unlink()
        shutil.copytree(written, directory)
        bare = BareVirtualHost(written)
        (directory / "expected.json").write_text(json.dumps(state_of(bare.vhost), indent=1) + "\n")
        bare.close()


def use(channel: RawChannel) -> None:
    """Do with a broker what leaves records of every kind."""
    channel.call(Exchange.Declare(exchange="x", exchange_type="topic", durable=True))
    channel.declare_queue("plain", durable=True)
    channel.declare_queue("timed", durable=True, arguments={"x-message-ttl": TTL_MS})
    channel.declare_queue("counted", durable=True, arguments={"x-queue-type": "quorum"})
    channel.declare_queue("once", durable=True, arguments={"x-deduplication": True})
    channel.declare_queue("gone", durable=True)
    channel.bind("plain", "x", "a.*")
    channel.bind("timed", "x", "a.#")
    for number in range(3):
        channel.publish(b"fan-out %d" % number, "a.b", "x", PERSISTENT)
        channel.publish(b"counted %d" % number, "counted", properties=PERSISTENT)
        channel.publish(b"gone %d" % number, "gone", properties=PERSISTENT)
        keyed = Basic.Properties(delivery_mode=2, message_id="key")
        channel.publish(b"once %d" % number, "once", properties=keyed)
    returned = channel.get("counted", no_ack=False)
    assert returned is not None
    channel.send(Basic.Nack(delivery_tag=returned.method.delivery_tag, requeue=True))
    acknowledged = channel.get("plain", no_ack=False)
    assert acknowledged is not None
    channel.send(Basic.Ack(delivery_tag=acknowledged.method.delivery_tag))
    channel.delete_queue("gone")
    channel.call(Tx.Select())
    channel.publish(b"of a transaction", "plain", properties=PERSISTENT)
    channel.publish(b"of the same", "counted", properties=PERSISTENT)
    channel.call(Tx.Commit())


def state_of(vhost: VirtualHost) -> dict[str, Any]:
    """Return what a virtual host consists of, and what is in it."""
    return {
        "exchanges": sorted([name, each.type.name] for name, each in vhost.exchanges.items() if name[:4] != "amq."),
        "bindings": sorted(
            [binding.source.name, binding.destination.name, binding.routing_key]
            for exchange in vhost.exchanges.values()
            for binding in exchange.bindings
        ),
        "policies": [policy.name for policy in vhost.policies.list()],
        "queues": {
            name: {"arguments": queue.arguments, "bodies": [body.decode() for body in bodies(queue)]}
            for name, queue in sorted(vhost.queues.items())
        },
    }


if __name__ == "__main__":
    make(Path(sys.argv[1]) / f"journal-{FORMAT_VERSION}")
    make_vhost(Path(sys.argv[1]) / f"vhost-{FORMAT_VERSION}")
