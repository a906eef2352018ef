"""Journals of virtual hosts that released versions wrote are opened for ever, with everything in them."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from broker.durability.queue_log import RECORD_KINDS
from broker.durability.replay import Replay
from storage.check import check
from storage.filesystem import LocalFilesystem
from storage.layout import FORMAT_VERSION, number_in
from storage.record import RECLAIMED
from storage.recovery import RECLAIMED_PAYLOAD, RECLAIMED_RANGE, Recovery
from storage.survey import RecordSeen, survey_segment
from tests.golden.make_compacted import compacted_state_of
from tests.golden.make_journal import state_of
from tests.support.bare_vhost import BareVirtualHost

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_golden_vhost(tmp_path: Path, version: int) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(GOLDEN / f"vhost-{version}", directory)
    expected = json.loads((directory / "expected.json").read_text())
    report = check(directory)
    assert (report.damage, report.damages, report.clean) == (None, [], True)
    assert report.checkpoint_sequence > 0
    bare = BareVirtualHost(directory)
    assert state_of(bare.vhost) == expected
    bare.publish("plain", b"and it can be written")
    bare.restart()
    assert state_of(bare.vhost)["queues"]["plain"]["bodies"][-1] == "and it can be written"
    bare.close()


def test_the_newest_has_every_kind_of_record() -> None:
    kinds: set[int] = set()
    for path in (GOLDEN / f"vhost-{FORMAT_VERSION}").glob("segment-*"):
        kinds |= set(survey_segment(LocalFilesystem(), path, number_in(path.name, "segment-") or 0).kinds)
    # What is paged out means nothing to the next start; what was moved is in the one that was compacted.
    left_out = ("paged", "moved", "moved_timed")
    assert {kind for name, kind in RECORD_KINDS.items() if name not in left_out} <= kinds


@pytest.mark.parametrize("indexed", [True, False], ids=["from indexes", "from segments"])
@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_golden_vhost_that_was_compacted(tmp_path: Path, version: int, indexed: bool) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(GOLDEN / f"compacted-{version}", directory)
    expected = json.loads((directory / "expected.json").read_text())
    if not indexed:
        for path in directory.glob("*.index"):
            path.unlink()
    report = check(directory)
    assert (report.damage, report.damages, report.clean) == (None, [], True)
    recovery = Recovery(directory)
    recovery.replay(Replay().messages)
    assert any(segment.last_sequence for segment in recovery.unindexed) is not indexed
    bare = BareVirtualHost(directory)
    assert compacted_state_of(bare.vhost) == expected
    bare.publish("plain", b"and it can be written")
    for _ in range(2):
        bare.restart()
        found = compacted_state_of(bare.vhost)
        assert found["queues"]["plain"]["bodies"].pop() == "and it can be written"
        assert found == expected
    bare.close()


def test_the_newest_that_was_compacted_has_what_compaction_writes() -> None:
    directory = GOLDEN / f"compacted-{FORMAT_VERSION}"
    records: list[RecordSeen] = []
    numbers = sorted(filter(None, (number_in(path.name, "segment-") for path in directory.iterdir())))
    for number in numbers:
        survey_segment(LocalFilesystem(), directory / f"segment-{number:016}", number, records.append)
    assert {RECORD_KINDS["moved"], RECORD_KINDS["moved_timed"]} <= {record.kind for record in records}
    mark = [record.payload for record in records if record.kind == RECLAIMED][-1]
    assert mark is not None
    first, checkpoint = RECLAIMED_PAYLOAD.unpack_from(mark)
    gone = list(RECLAIMED_RANGE.iter_unpack(mark[RECLAIMED_PAYLOAD.size :]))
    assert (first, checkpoint > 0, len(gone)) == (numbers[0], True, 1)
    assert [(before, after) for before, after in pairwise(numbers) if after > before + 1] == [
        (gone[0][0] - 1, gone[0][1] + 1)
    ]
    indexes = {number_in(path.stem, "segment-") for path in directory.glob("*.index")}
    # The last one was prepared, and never used.
    assert indexes == set(numbers[:-1])
