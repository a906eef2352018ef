"""Segments go from the front, and never before what replaces their content is on disk."""

from dataclasses import replace

import pytest

from storage.cases import Case
from storage.layout import HEADER_SIZE, CheckpointHeader
from storage.options import JournalOptions
from storage.recovery import Recovery
from tests.unit.storage.simulated_disk import CommitDisk, SimulatedDisk
from tests.unit.storage.support import DIRECTORY, Owner, in_one_slice, recover
from tests.unit.storage.test_journal import GatedDisk

STATE = 128


def segments_on(disk: SimulatedDisk) -> list[int]:
    return [int(name[8:]) for name in disk.list(DIRECTORY) if name.startswith("segment-") and name[8:].isdigit()]


def open_on(disk: SimulatedDisk, **keywords) -> Owner:
    owner = Owner(filesystem=disk, disk=CommitDisk(disk), **keywords)
    owner.open()
    return owner


def fill_segment(owner: Owner, kind: int = 1) -> list:
    """Append and commit records until the next segment begins, and return the segments of those of kind 1."""
    begin = owner.journal.current
    held = []
    while owner.journal.current is begin:
        owner.journal.append(kind, bytes(900))
        if kind == 1:
            owner.journal.retain(owner.journal.current)
            held.append(owner.journal.current)
    owner.commit()
    return held


def test_segments_go_from_the_front_only():
    disk = SimulatedDisk()
    owner = open_on(disk)
    journal = owner.journal
    held = [*fill_segment(owner), *fill_segment(owner), *fill_segment(owner)]
    numbers = sorted({segment.number for segment in held})
    assert numbers[:3] == [1, 2, 3]
    for segment in [segment for segment in held if segment.number == 2]:
        journal.release(segment)
    journal.append(1, b"acks")
    owner.commit()
    assert journal.segment_count >= 4
    for segment in [segment for segment in held if segment.number == 1]:
        journal.release(segment)
    journal.append(1, b"acks")
    owner.commit()
    owner.wait(lambda: journal.segment_count == len(numbers) - 2)
    journal.close()
    assert min(segments_on(disk)) == 3
    assert [name for name in disk.files if name.startswith("spare-")]
    records, recovery = recover(disk.files)
    assert recovery.segments[0].number == 3
    assert len(records) == sum(segment.number >= 3 for segment in held) + 2


def test_a_segment_stays_until_the_move_of_its_message_is_durable(tmp_path):
    """A dead-lettered message is released in one segment and written in another, in one unit."""
    disk = GatedDisk()
    owner = Owner(tmp_path, disk=disk)
    journal = owner.open()
    disk.allowed.release(2)
    first = journal.current
    journal.append(1, bytes(3000))
    journal.retain(first)
    journal.append(1, bytes(3000))
    assert journal.current is not first
    owner.commit()
    journal.append(1, b"moved", False)
    journal.retain(journal.current)
    journal.release(first)
    journal.append(1, b"and released", True)
    assert first.live == 0
    assert journal.commit()
    for _ in range(4):
        disk.waiting.acquire(blocking=False)
    journal.on_commit_finished()
    assert journal.segment_count == 2
    assert (tmp_path / "segment-0000000000000001").exists()
    disk.allowed.release(2)  # the move, and then the mark that the segment may be gone
    owner.wait(lambda: journal.segment_count == 1)
    disk.allowed.release(10)
    journal.close()
    assert not (tmp_path / "segment-0000000000000001").exists()


def test_the_mark_is_durable_before_a_segment_goes():
    disk = SimulatedDisk()
    owner = open_on(disk)
    for segment in fill_segment(owner):
        owner.journal.release(segment)
    owner.journal.append(1, b"acks")
    owner.commit()
    owner.wait(lambda: owner.journal.segment_count == 1)
    owner.journal.close()
    durable = {name: bytes(inode.durable) for name, inode in disk.durable_names.items()}
    assert 1 not in segments_on(SimulatedDisk(durable))
    # Without its mark the missing segment would be taken for a loss.
    _, recovery = recover(durable)
    assert recovery.segments[0].number == 2


def test_state_records_keep_their_segment_until_a_checkpoint_covers_them():
    disk = SimulatedDisk()
    owner = open_on(disk)
    fill_segment(owner, STATE)
    owner.journal.append(1, b"more")
    owner.commit()
    assert owner.journal.segment_count == 2  # nobody can say what they add up to
    owner.journal.close()

    snapshots = []

    def snapshot() -> bytes:
        snapshots.append(owner.journal.sequence)
        return b"the state as of %d" % owner.journal.sequence

    owner = open_on(SimulatedDisk(disk.files), snapshot=in_one_slice(snapshot))
    journal = owner.journal
    assert owner.recovery.checkpoint is None
    journal.append(STATE, b"newer")
    owner.commit()
    owner.wait(lambda: journal.segment_count == 1)
    assert journal.checkpoint_sequence == snapshots[-1]
    journal.append(STATE, b"newest")
    journal.close()
    files = owner.recovery.filesystem.files
    records, recovery = recover(files)
    assert recovery.checkpoint.payload == b"the state as of %d" % snapshots[-1]
    assert [payload for kind, _, payload in records if kind == STATE][-1] == b"newest"
    assert all(sequence > recovery.checkpoint.sequence for kind, sequence, _ in records if kind == STATE)
    assert len(snapshots) == 1


def test_a_checkpoint_that_cannot_be_written_costs_no_message():
    class NoCheckpoints(SimulatedDisk):
        refusing = True

        def open(self, path, create=False):
            if path.name.startswith("checkpoint-") and self.refusing:
                raise OSError(28, "no space left on device")
            return super().open(path, create)

    disk = NoCheckpoints()
    owner = open_on(disk, snapshot=in_one_slice(lambda: b"state"))
    fill_segment(owner, STATE)
    fill_segment(owner, STATE)
    assert owner.journal.checkpoint_sequence == 0
    assert not owner.journal.failed
    disk.refusing = False
    while owner.journal.checkpoint_sequence == 0:
        fill_segment(owner, STATE)
    owner.journal.close()
    assert recover(disk.files)[1].checkpoint.payload == b"state"


def test_a_checkpoint_is_encoded_a_slice_at_a_time(tmp_path):
    """It is not written before everything is durable that was appended while it was encoded."""
    slices = []
    last_slice = []

    def snapshot():
        for _ in range(5):
            slices.append(owner.journal.sequence)
            owner.journal.append(STATE, b"meanwhile")
            yield
        last_slice.append(owner.journal.sequence)
        return [b"one ", b"and another"]

    owner = Owner(tmp_path, options=JournalOptions(4096, 4096, 0), snapshot=snapshot)
    journal = owner.open()
    fill_segment(owner, STATE)
    while journal.checkpoint_sequence == 0:
        before = len(slices)
        journal.on_commit_finished()
        assert len(slices) <= before + 1, "two slices in one turn"
        journal.commit()
        if not last_slice or journal.durable_sequence < last_slice[0]:
            assert not list(tmp_path.glob("checkpoint-*"))
    assert len(slices) == 5
    assert journal.checkpoint_sequence == slices[0] < last_slice[0]
    journal.close()
    recovery = Recovery(tmp_path)
    assert recovery.checkpoint.payload == b"one and another"
    assert recovery.checkpoint.newest_sequence == last_slice[0]


def test_a_log_that_ends_before_what_its_checkpoint_contains_is_damaged():
    disk = SimulatedDisk()

    def snapshot():
        yield
        return [b"state"]

    owner = open_on(disk, snapshot=snapshot)
    fill_segment(owner, STATE)
    owner.wait(lambda: owner.journal.checkpoint_sequence > 0)
    owner.journal.close()
    files = dict(disk.files)
    (name,) = [name for name in files if name.startswith("checkpoint-")]
    header = CheckpointHeader.decode(bytes(files[name]))
    files[name] = replace(header, newest_sequence=owner.journal.sequence + 1).encode() + files[name][HEADER_SIZE:]
    _, recovery = recover(files)
    assert [damage.case for damage in recovery.damages] == [Case.RECORD_DAMAGED]


def test_a_snapshot_that_fails_is_tried_again_with_the_next_segment():
    failing = True

    def snapshot():
        yield
        if failing:
            raise RuntimeError("no snapshot")
        return [b"state"]

    disk = SimulatedDisk()
    owner = open_on(disk, snapshot=snapshot)

    def fill_segments():
        while True:
            fill_segment(owner, STATE)

    with pytest.raises(RuntimeError, match="no snapshot"):
        fill_segments()
    failing = False
    while owner.journal.checkpoint_sequence == 0:
        fill_segment(owner, STATE)
    owner.journal.close()
    assert recover(disk.files)[1].checkpoint.payload == b"state"


@pytest.mark.parametrize("spares", [0, 1])
def test_files_are_used_again(spares):
    disk = SimulatedDisk()
    owner = open_on(disk, options=JournalOptions(4096, 4096, spares))
    for _ in range(8):
        for segment in fill_segment(owner):
            owner.journal.release(segment)
    owner.journal.append(1, b"end")
    owner.commit()
    owner.wait(lambda: owner.journal.segment_count == 1)
    owner.journal.close()
    assert len([name for name in disk.files if name.startswith("spare-")]) <= spares
    assert len([name for name in disk.files if not name.startswith("reserve-")]) <= 3 + spares
    _, recovery = recover(disk.files)
    assert recovery.clean
