"""Makes the journal of a virtual host that was compacted: ``python -m tests.golden.make_compacted DIRECTORY``.

As with ``make_journal``: once for each format version, and what it made is never changed. It has copies of messages,
with their times and without, indexes, and a mark that says which segments in its middle may be gone, and because of
which checkpoint.
"""

import json
import select
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pamqp.commands import Basic

from broker import clock
from broker.policy import validate_policy
from broker.vhost import VirtualHost
from storage.compactor import LIVING_RATIO_MAX, SEGMENTS_BEYOND
from storage.layout import FORMAT_VERSION, segment_path
from storage.options import JournalOptions
from tests.golden.make_journal import PERSISTENT, TTL_MS, state_of
from tests.support.in_process import InProcessBroker
from tests.support.paged import read_back_all
from tests.support.raw_client import RawChannel

SEGMENT_SIZE = 4096
OPTIONS = JournalOptions(SEGMENT_SIZE, SEGMENT_SIZE, spare_files_max=0)
OLD_SEGMENTS = 12
"""In each of so many something stays that is moved."""
GONE_SEGMENTS = 12
"""So many go before those in front of them."""
STUCK_COUNT = 40
PATIENCE_S = 10.0


def make(directory: Path) -> None:
    """Write the journal, and beside it what has to be found in it."""
    with tempfile.TemporaryDirectory() as temporary:
        written = Path(temporary) / "vhost"
        broker = InProcessBroker(written, options=OPTIONS)
        channel = broker.connect().channel()
        leave_a_little(broker, channel)
        until_compacted(broker)
        leave_a_gap(broker, channel)
        until_compacted(broker)
        broker.stop()
        shutil.copytree(written, directory)
        broker.start()
        (directory / "expected.json").write_text(json.dumps(compacted_state_of(broker.vhost), indent=1) + "\n")
        broker.stop()
    clock.stand_still(0)


def leave_a_little(broker: InProcessBroker, channel: RawChannel) -> None:
    """Let a few messages stay in each of the first segments."""
    for name in ("plain", "other", "timed", "passing", "stuck"):
        channel.declare_queue(name, durable=True)
    channel.declare_queue("counted", durable=True, arguments={"x-queue-type": "quorum"})
    for name in ("plain", "other"):
        channel.bind(name, "amq.fanout")
    # As long as it holds, messages of that queue have times; none of them is ever to expire.
    broker.vhost.put_policy(validate_policy("for a while", "^timed$", {"message-ttl": TTL_MS}))
    while (number := current_number(broker)) <= OLD_SEGMENTS:
        channel.publish(b"fan-out %d" % number, exchange="amq.fanout", properties=PERSISTENT)
        channel.publish(b"message %d" % number, ("timed", "counted")[number % 2], properties=PERSISTENT)
        if number % 4 == 0:
            channel.get("other")
        while current_number(broker) == number:
            pass_by(broker, channel)
    for _ in range(3):
        returned = channel.get("counted", no_ack=False)
        assert returned is not None
        channel.send(Basic.Nack(returned.method.delivery_tag, requeue=True))
    broker.vhost.delete_policy("for a while")
    broker.settle()


def leave_a_gap(broker: InProcessBroker, channel: RawChannel) -> None:
    """Let messages come that are stuck, and others that pass by behind them: their segments go first."""
    for number in range(STUCK_COUNT):
        channel.publish(b"stuck %d " % number + b"-" * 150, "stuck", properties=PERSISTENT)
    broker.settle()
    first = current_number(broker) + 1
    last = segment_path(broker.directory, first + GONE_SEGMENTS)
    while current_number(broker) <= first + GONE_SEGMENTS or last.exists():
        pass_by(broker, channel)
    channel.publish(b"behind the gap", "plain", properties=PERSISTENT)
    broker.settle()


def current_number(broker: InProcessBroker) -> int:
    """Return the number of the segment that is being written."""
    number: int = broker.vhost.journal.journal.current.number
    return number


def pass_by(broker: InProcessBroker, channel: RawChannel) -> None:
    """Have a message come and go."""
    channel.publish(bytes(200), "passing", properties=PERSISTENT)
    assert channel.get("passing") is not None
    broker.settle()


def until(broker: InProcessBroker, condition: Callable[[], bool]) -> None:
    """Let things go on until ``condition`` holds."""
    journal = broker.vhost.journal.journal
    broker.settle()
    while not condition():
        assert select.select([journal.completion_fd], [], [], PATIENCE_S)[0], "nothing happens any more"
        journal.on_commit_finished()
        broker.settle()


def until_compacted(broker: InProcessBroker) -> None:
    """Wait until the journal is no larger than it may be."""
    journal = broker.vhost.journal.journal
    until(
        broker,
        lambda: journal.log_bytes <= LIVING_RATIO_MAX * journal.living_bytes + SEGMENTS_BEYOND * SEGMENT_SIZE,
    )


def compacted_state_of(vhost: VirtualHost) -> dict[str, Any]:
    """Return what a virtual host consists of, what is in it, and how often its messages have come back."""
    read_back_all(vhost)
    counted = vhost.queues["counted"]
    counts = [counted.delivery_count(position) for position, _, _ in counted.entries(0, STUCK_COUNT)]
    return {**state_of(vhost), "counts": counts}


if __name__ == "__main__":
    make(Path(sys.argv[1]) / f"compacted-{FORMAT_VERSION}")
