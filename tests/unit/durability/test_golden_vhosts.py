"""Journals of virtual hosts that released versions wrote are opened for ever, with everything in them."""

import json
import shutil
from pathlib import Path

import pytest

from broker.durability.queue_log import RECORD_KINDS
from storage.check import check
from storage.filesystem import LocalFilesystem
from storage.layout import FORMAT_VERSION, number_in
from storage.survey import survey_segment
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
    # What is paged out means nothing to the next start; what was moved reads as what was published does.
    left_out = ("paged", "moved", "moved_timed")
    assert {kind for name, kind in RECORD_KINDS.items() if name not in left_out} <= kinds
