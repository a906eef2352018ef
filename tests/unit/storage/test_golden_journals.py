"""Journals that released versions wrote are opened for ever."""

import json
import shutil
from pathlib import Path

import pytest

from storage.check import check
from storage.layout import FORMAT_VERSION
from tests.unit.storage.support import Owner

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_golden_journal(tmp_path, version):
    directory = tmp_path / "journal"
    shutil.copytree(GOLDEN / f"journal-{version}", directory)
    expected = json.loads((directory / "expected.json").read_text())
    report = check(directory)
    assert report.damage is None
    assert report.clean
    assert report.cut_size == 0
    assert report.record_count == len(expected["records"])

    owner = Owner(directory)
    journal = owner.open()
    recovery = owner.recovery
    assert [[kind, sequence, payload.hex()] for kind, sequence, payload in owner.records] == expected["records"]
    assert [recovery.checkpoint.sequence, recovery.checkpoint.payload.decode()] == expected["checkpoint"]
    assert (recovery.sequence, recovery.epoch) == (expected["sequence"], expected["epoch"])
    for segment in recovery.segments:
        journal.retain(segment)
    journal.append(1, b"and it can be written")
    journal.close()
    owner = Owner(directory)
    owner.open().close()
    assert len(owner.records) == len(expected["records"]) + 1
