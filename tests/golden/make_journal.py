"""Makes the golden journal of the current format version: ``python -m tests.golden.make_journal DIRECTORY``.

Run once for each format version, when it is released. What it made is never changed: the tests open it for ever.
"""

import json
import select
import sys
from collections.abc import Generator
from pathlib import Path

from storage.errors import JournalFailed
from storage.journal import Journal
from storage.layout import FORMAT_VERSION, segment_path
from storage.options import JournalOptions
from storage.recovery import Recovery

OPTIONS = JournalOptions(segment_size=4096, first_segment_size=4096, spare_files_max=0)
STATE = 128
POLL_SECONDS = 0.1


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


if __name__ == "__main__":
    make(Path(sys.argv[1]) / f"journal-{FORMAT_VERSION}")
