"""The simulator finds what it is meant to find: each test plants one bug, and a seed has to fail for it."""

import errno
import struct
from dataclasses import replace

import pytest

from broker.durability import replay, vhost_state
from broker.durability.queue_log import RECORD_KINDS, decode_publish, decode_return
from broker.paging import pager
from broker.paging.pager import Pager
from broker.paging.read_retry import ReadRetry
from broker.queueing.ready import PagedMessage
from broker.session.transaction import Commit
from broker.vhost import VirtualHost
from storage import damage, recovery, settling
from storage.cases import Action, Case
from storage.housekeeper import Housekeeper
from storage.judge import Verdict, judge
from storage.layout import segment_path
from storage.record import SEALED, peek, size_of
from storage.recovery import Recovery
from storage.segment import UNIT_SIZE
from storage.survey import survey_segment
from tests.simulation import broker_run
from tests.simulation.broker_run import BrokerRun
from tests.simulation.clients import Transactor
from tests.simulation.disk import CommitDisk, Faults, Inode, SimulatedDisk
from tests.simulation.journal_run import JournalRun
from tests.simulation.violation import Violation
from tests.simulation.weather import Weather

CALM = Weather()
FAILING = Weather(fails=True)
ROTTING = Weather(rots=True)
SEEDS_MAX = 2000
PATIENCE_S = 3
# The seed that finds a stop believed twice. Few do: somebody has to be killed before anything is written.
BELIEVED_TWICE = 3185
COUNT = struct.Struct("<I")
TARGET = struct.Struct("<IQ")


def found(run_class, weather, words, first=0):
    """Say whether some seed, from ``first`` on, fails with these words."""
    for seed in range(first, first + SEEDS_MAX):
        try:
            run_class(seed, weather).run()
        except Violation as violation:
            if words in str(violation):
                print(f"seed {seed}: {violation}")
                return True
    return False


@pytest.fixture(params=[JournalRun, BrokerRun], ids=["journal", "broker"])
def run_class(request):
    return request.param


def test_a_disk_that_lies_about_syncs(monkeypatch, run_class):
    faults = Weather.faults

    def lying(*arguments):
        return replace(faults(*arguments), lies=-1)

    monkeypatch.setattr(Weather, "faults", lying)
    # Whatever is missed first: what was confirmed, what was declared, or the records before others.
    assert found(run_class, CALM, "")


def test_confirms_that_come_too_early(monkeypatch):
    monkeypatch.setattr(VirtualHost, "durable_batch", property(lambda self: self.journal.journal.open_batch))
    assert found(BrokerRun, CALM, "what was confirmed and not settled is there")


def test_a_header_that_is_not_on_disk_before_its_name(monkeypatch):
    prepare = Housekeeper._prepare_file

    def hasty(self, number, size, durable):
        disk, sync = self._filesystem, SimulatedDisk.sync
        disk.sync = lambda descriptor: None
        try:
            return prepare(self, number, size, durable)
        finally:
            disk.sync = sync.__get__(disk)

    monkeypatch.setattr(Housekeeper, "_prepare_file", hasty)
    assert found(JournalRun, CALM, "HEADER")


def test_a_file_prepared_behind_one_that_could_not_be(monkeypatch):
    prepare = Housekeeper._prepare

    def going_on(self, segment, size, durable):
        self._unprepared.clear()
        prepare(self, segment, size, durable)

    monkeypatch.setattr(Housekeeper, "_prepare", going_on)
    assert found(JournalRun, FAILING, "NUMBER_GAP")


def test_a_start_that_believes_the_page_cache_after_a_failed_sync(monkeypatch):
    def believing(self, repair):
        descriptor = self.filesystem.open(repair.path)
        self.filesystem.truncate(descriptor, repair.offset)
        self.filesystem.sync(descriptor)
        self.filesystem.close(descriptor)

    monkeypatch.setattr(Recovery, "_settle", believing)
    # The next segment's header says that the records had been on disk.
    assert found(JournalRun, FAILING, "nothing is reported where nothing is damaged")


def test_damage_that_is_taken_for_a_torn_tail(monkeypatch):
    def careless(place, later_has_records):
        verdict = judge(place, later_has_records)
        if verdict.case.action is not Action.SKIP:
            return verdict
        return Verdict(Case.TORN_TAIL)

    monkeypatch.setattr(recovery, "judge", careless)
    # The rest of the log is missed, or what proves that it had been there.
    assert found(JournalRun, ROTTING, "a start is refused only where a file is missing")


def test_damage_that_takes_its_neighbours_along(monkeypatch):
    def greedy(place, later_has_records):
        verdict = judge(place, later_has_records)
        if verdict.case is not Case.RECORD_DAMAGED or verdict.resume_sequence == 0:
            return verdict
        offset, sequence = verdict.resume_offset, verdict.resume_sequence
        header = peek(place.data, offset, place.identity.seed, place.identity.epoch)
        if header is None or header[0] >= SEALED:
            return verdict
        return replace(verdict, resume_offset=offset + size_of(header[4]), resume_sequence=sequence + 1)

    monkeypatch.setattr(recovery, "judge", greedy)
    assert found(JournalRun, ROTTING, "the state is that after some unit")


def test_damage_that_nobody_hears_of(monkeypatch):
    skip = Recovery._skip

    def silent(self, file, verdict):
        skip(self, file, verdict)
        self.damages[:] = [damage for damage in self.damages if damage.case is not Case.RECORD_DAMAGED]

    monkeypatch.setattr(Recovery, "_skip", silent)
    assert found(JournalRun, ROTTING, "what is lost is reported")


def test_damage_of_which_no_copy_is_kept(monkeypatch):
    monkeypatch.setattr(recovery, "keep_copies", lambda *_: None)
    assert found(JournalRun, ROTTING, "a copy of what is damaged is kept")


def test_a_copy_that_is_kept_without_a_name_for_sure(monkeypatch):
    keep = damage.keep_copies

    def hasty(filesystem, directory, damages):
        sync = filesystem.sync_directory
        aside = damage.quarantine_directory(directory)
        filesystem.sync_directory = lambda synced: None if synced == aside else sync(synced)
        try:
            keep(filesystem, directory, damages)
        finally:
            filesystem.sync_directory = sync

    monkeypatch.setattr(recovery, "keep_copies", hasty)
    assert found(JournalRun, ROTTING, "a copy of what is damaged is kept")


def test_a_directory_that_is_not_on_disk_before_what_is_in_it(monkeypatch):
    def hasty(self, directory):
        self.directories.add(str(directory))

    monkeypatch.setattr(SimulatedDisk, "make_directory", hasty)
    assert found(JournalRun, CALM, "what is durable is found")


def test_a_read_that_goes_astray(monkeypatch):
    def astray(self, descriptor, size, offset):
        return self.disk.read_at(descriptor, size, offset + UNIT_SIZE)

    monkeypatch.setattr(CommitDisk, "on_read", astray)
    assert found(JournalRun, CALM, "what is needed is read back")


def test_segments_that_go_while_they_are_needed(monkeypatch):
    reclaim = Housekeeper.reclaim

    def hasty(self, numbers):
        reclaim(self, [*numbers, numbers[-1] + 1] if numbers else numbers)

    monkeypatch.setattr(Housekeeper, "reclaim", hasty)
    assert found(JournalRun, CALM, "what is needed is read back")


def change_records(monkeypatch, change, *kinds):
    """Have starts read all segments, and change the payloads of records of some kinds; None leaves them out."""
    read = Recovery._read
    numbers = [RECORD_KINDS[kind] for kind in kinds]

    def reading(self, replayer):
        for records in read(self, replayer):
            changed = [(r[0], r[1], change(r[0], r[2]), *r[3:]) if r[0] in numbers else r for r in records]
            yield [record for record in changed if record[2] is not None]

    monkeypatch.setattr(Recovery, "_index_of", lambda self, file: None)
    monkeypatch.setattr(Recovery, "_read", reading)


def change_targets(monkeypatch, change):
    """Change the queues of messages, and their positions there."""

    def changed(kind, payload):
        begin = 8 if kind == RECORD_KINDS["publish_timed"] else 0
        targets, _ = decode_publish(payload, begin > 0)
        end = begin + COUNT.size + TARGET.size * len(targets)
        targets = change(targets, len(payload))
        packed = b"".join(TARGET.pack(*target) for target in targets)
        return payload[:begin] + COUNT.pack(len(targets)) + packed + payload[end:]

    change_records(monkeypatch, changed, "publish", "publish_timed")


def change_repeated_returns(monkeypatch, change):
    """Change what is said again behind the copy of a message about its return."""
    targets = []

    def changed(kind, payload):
        if kind != RECORD_KINDS["return"]:
            is_moved = kind in (RECORD_KINDS["moved"], RECORD_KINDS["moved_timed"])
            targets[:] = decode_publish(payload, kind == RECORD_KINDS["moved_timed"])[0] if is_moved else []
        elif decode_return(payload)[:2] in targets:
            return change(payload)
        return payload

    change_records(monkeypatch, changed, *RECORD_KINDS)


def test_a_wait_that_is_not_repeated_behind_a_copy(monkeypatch):
    change_repeated_returns(monkeypatch, lambda payload: payload[:16] + bytes(8))
    assert found(BrokerRun, CALM, "what came back waits before it comes again")


def test_a_count_that_is_not_repeated_behind_a_copy(monkeypatch):
    change_repeated_returns(monkeypatch, lambda payload: None)
    assert found(BrokerRun, CALM, "each return is counted")


def test_messages_that_are_dropped_with_the_declaration_of_their_queue(monkeypatch):
    monkeypatch.setattr(replay.Replay, "recover_queue", lambda self, number: None)
    assert found(BrokerRun, ROTTING, "what was confirmed and not settled is there")


def test_settlements_that_are_not_replayed(monkeypatch):
    change_records(monkeypatch, lambda kind, payload: None, "settle")
    assert found(BrokerRun, CALM, "what was settled does not come again")


def test_deliveries_that_are_not_flagged_after_a_start(monkeypatch):
    change_records(monkeypatch, lambda kind, payload: payload[:4] + bytes(8) + payload[12:], "settle")
    assert found(BrokerRun, CALM, "what comes again is flagged")


def test_a_clean_stop_that_is_believed_twice(monkeypatch):
    monkeypatch.setattr(settling, "_without_stop", lambda data, segment: data)
    monkeypatch.setattr(recovery, "settle_index", lambda *_: None)
    assert found(BrokerRun, CALM, "what comes again is flagged", BELIEVED_TWICE)


def test_a_clean_stop_that_is_believed_twice_by_its_index(monkeypatch):
    monkeypatch.setattr(recovery, "settle_index", lambda *_: None)
    assert found(BrokerRun, CALM, "what comes again is flagged", BELIEVED_TWICE)


def test_messages_that_come_back_in_another_order(monkeypatch):
    restore = vhost_state.restore_messages

    def reversing(queue, replayed, journal, machine, give_up):
        restore(queue, replayed, journal, machine, give_up)
        entries = queue.entries(0, queue.ready_count())
        for position, _, _ in entries:
            queue.remove(position)
        for (position, _, redelivered), (_, message, _) in zip(entries, reversed(entries), strict=True):
            queue.restore(read(message, journal.journal.directory, machine.filesystem), position, redelivered, 0, 0)

    def read(message, directory, filesystem):
        if not isinstance(message, PagedMessage):
            return message
        number, offset = message.location >> 32, (message.location & 0xFFFFFFFF) * UNIT_SIZE
        seen = []
        survey_segment(filesystem, segment_path(directory, number), number, seen.append)
        record = next(record for record in seen if record.offset == offset)
        return decode_publish(record.payload, record.kind == RECORD_KINDS["publish_timed"])[1]

    monkeypatch.setattr(vhost_state, "restore_messages", reversing)
    assert found(BrokerRun, CALM, "in the order of their publishing")


def test_damaged_messages_that_nobody_counts(monkeypatch):
    monkeypatch.setattr(Pager, "give_up", lambda *_: None)
    assert found(BrokerRun, ROTTING, "what is missing is counted")


def test_messages_that_are_given_up_for_want_of_descriptors(monkeypatch):
    monkeypatch.setattr(pager, "PASSING_ERRORS", frozenset())
    assert found(BrokerRun, CALM, "what is not damaged can be read")


def test_reading_that_is_not_tried_again(monkeypatch):
    monkeypatch.setattr(ReadRetry, "_schedule", lambda _: None)
    assert found(BrokerRun, CALM, "what was confirmed and not settled is there")


def test_confirms_that_lose_patience_with_a_stalled_sync(monkeypatch):
    def is_late(vhost):
        return vhost.journal.journal.in_flight_seconds > PATIENCE_S

    def durable_batch(vhost):
        journal = vhost.journal.journal
        return journal.open_batch if is_late(vhost) else journal.durable_batch

    commit = VirtualHost._commit

    def impatient(self):
        commit(self)
        if is_late(self):
            self._journal_durable()

    monkeypatch.setattr(VirtualHost, "durable_batch", property(durable_batch))
    monkeypatch.setattr(VirtualHost, "_commit", impatient)
    assert found(BrokerRun, CALM, "what was confirmed and not settled is there")


def test_a_fan_out_of_which_a_part_comes_back(monkeypatch):
    change_targets(monkeypatch, lambda targets, size: targets[: 1 + size % 3])
    assert found(BrokerRun, CALM, "what happens together outlives a crash together")


def test_messages_that_come_back_elsewhere(monkeypatch):
    change_targets(monkeypatch, lambda targets, size: [(number % 3 + 1, position) for number, position in targets])
    assert found(BrokerRun, CALM, "what is not damaged can be read")


def test_bindings_that_are_gone_after_a_start(monkeypatch):
    define = replay.Replay._define

    def forgetting(self, definition):
        define(self, definition)
        self.bindings.clear()

    monkeypatch.setattr(replay.Replay, "_define", forgetting)
    assert found(BrokerRun, CALM, "what was confirmed and not settled is there")


def test_queues_that_are_gone_after_a_start(monkeypatch):
    define = replay.Replay._define

    def forgetting(self, definition):
        define(self, definition)
        if isinstance(definition, replay.QueueDeclared) and definition.name == "dead short":
            del self.queues[definition.number]

    monkeypatch.setattr(replay.Replay, "_define", forgetting)
    assert found(BrokerRun, CALM, "no queue 'dead short'")


def test_a_transaction_in_several_units(monkeypatch):
    class NoUnits:
        def __init__(self, journal):
            self.journal = journal.journal

        def begin_unit(self):
            return 0

        def end_unit(self):
            return self.journal.open_batch

    go_on = Commit.go_on

    def piecemeal(self, count_max):
        vhost = self._channel.vhost
        journal = vhost.journal
        vhost.journal = NoUnits(journal)
        try:
            return go_on(self, count_max)
        finally:
            vhost.journal = journal

    monkeypatch.setattr(Commit, "go_on", piecemeal)
    monkeypatch.setattr(broker_run, "ROLES", (Transactor,))
    assert found(BrokerRun, CALM, "what happens together outlives a crash together")


def test_without_a_bug_the_same_seeds_pass(run_class):
    for seed in range(40):
        run_class(seed, CALM).run()


def test_a_failed_sync_takes_pages_for_clean():
    """The model of a disk does what kernels do: what a failed sync left behind is not written by the next one."""
    run = JournalRun(1)
    disk = run.disk
    disk.chance.random = lambda: 0.0  # nothing reaches the disk
    inode = disk.names["file"] = Inode()
    disk.descriptors[1] = inode
    disk.write(1, b"lost", 0)
    disk.faults = Faults({disk.operation_count + 1: errno.EIO})
    with pytest.raises(OSError, match="the disk fails"):
        disk.sync(1)
    disk.sync(1)
    assert inode.seen == b"lost"
    assert inode.durable == b""
