"""What a start refuses, a repair makes startable, with everything that is left."""

from pathlib import Path

import pytest

from storage.cases import WITH_REPAIR, Case
from storage.recovery import Recovery
from storage.repair import carry_out, keep_original, plan_repair
from tests.unit.storage.simulated_disk import CommitDisk, SimulatedDisk
from tests.unit.storage.support import DIRECTORY, SMALL, Owner
from tests.unit.storage.test_recovery_cases import REFUSED, REPAIRED, SKIPPED

LEFT = {
    Case.HEADER_NUMBER: [],
    Case.FRONT_MISSING: [b"c"],
    Case.NUMBER_GAP: [b"a", b"b", b"c"],
    Case.SEQUENCE_REPEATED: [b"a", b"b"],
    Case.END_MISSING: [b"a", b"b"],
    Case.CHECKPOINT_BAD: [b"kept"],
    Case.CHECKPOINT_MISSING: [b"kept"],
}


def test_every_case_that_can_be_repaired_is_here():
    assert set(LEFT) == set(WITH_REPAIR)


@pytest.mark.parametrize("case", LEFT, ids=lambda case: case.name)
def test_a_journal_that_is_refused_can_be_started_afterwards(case):
    found = REFUSED[case]()
    disk = SimulatedDisk(found)
    plan = plan_repair(DIRECTORY, disk)
    assert disk.files == found
    assert any(step.startswith(case.name) for step in plan.steps)
    carry_out(plan)
    assert plan_repair(DIRECTORY, disk).steps == []
    expected = list(LEFT[case])
    for life in range(3):
        owner = Owner(filesystem=disk, disk=CommitDisk(disk), options=SMALL)
        journal = owner.open()
        assert [payload for _, _, payload in owner.records] == expected
        sequences = [sequence for _, sequence, _ in owner.records]
        assert sequences == sorted(set(sequences))
        for segment in owner.recovery.segments:
            journal.retain(segment)
        journal.append(1, b"%d" % life)
        journal.retain(journal.current)
        owner.commit()
        expected.append(b"%d" % life)
        journal.close()


@pytest.mark.parametrize("case", LEFT, ids=lambda case: case.name)
def test_a_repair_that_is_interrupted_can_be_done_anew(case):
    for crash_at in range(1, 80):
        disk = SimulatedDisk(REFUSED[case](), crash_at)
        try:
            carry_out(plan_repair(DIRECTORY, disk))
        except OSError:
            disk.crash_at = None
            plan = plan_repair(DIRECTORY, disk)
            if plan.steps:
                carry_out(plan)
            recovery = Recovery(DIRECTORY, disk)
            assert [payload for _, _, payload, _ in recovery.records()] == LEFT[case]
        else:
            break


@pytest.mark.parametrize("make", [*REPAIRED.values(), *(make for make, _, _ in SKIPPED.values())])
def test_where_a_start_needs_no_help_there_is_nothing_to_do(make):
    assert plan_repair(DIRECTORY, SimulatedDisk(make())).steps == []


def test_the_original_is_copied_and_no_copy_is_overwritten(tmp_path: Path):
    directory = tmp_path / "journal"
    directory.mkdir()
    files = {"segment-0000000000000001": b"one", "checkpoint-0000000000000002": b"two"}
    for name, data in (files | {"spare-0000000000000003": b"spare"}).items():
        (directory / name).write_bytes(data)
    for number in (1, 2):
        copy = keep_original(directory)
        assert copy.name == f"journal.before-repair-{number}"
        assert {path.name: path.read_bytes() for path in copy.iterdir()} == files
        assert not any(path.samefile(directory / path.name) for path in copy.iterdir())
