"""One damaged record in the journal of a broker, and what that may cost: itself, and nothing else.

Where its segment has no index, the start reads it, and reports it. Where it has one, the index says what a start has to
know of it, and the damage is found only where the record is a message that somebody wants.
"""

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from broker.durability.definitions import Bound, ExchangeDeclared, QueueDeclared, QueueDeleted, decode
from broker.durability.queue_log import RECORD_KINDS, decode_publish, decode_return, decode_settle
from broker.durability.replay import RECOVERED_PREFIX, Replay
from broker.queueing.ready import PagedMessage
from storage.errors import JournalError
from storage.layout import SEGMENT_PREFIX, index_path, number_in
from storage.recovery import Recovery
from storage.segment import UNIT_SIZE
from storage.survey import RecordSeen, survey_segment
from tests.simulation.broker_model import BrokerModel, Copy
from tests.simulation.disk import SimulatedDisk

TRIES_MAX = 10
INDEX_LOST, INDEX_KEPT = 0.3, 0.5
"""An index is lost where chance is below the first, and kept from the second on; in between it is damaged."""
IS_TIMED = {
    RECORD_KINDS["publish"]: False,
    RECORD_KINDS["moved"]: False,
    RECORD_KINDS["publish_timed"]: True,
    RECORD_KINDS["moved_timed"]: True,
}
"""The records of messages that outlive the broker. One that was moved may be all that is left of its message."""


class RecordDamage:
    """Damages one record of a virtual host, of which there is a proof, and tells the model what that may cost.

    ``recovered`` are the queues that a start has to make up, by name, and those whose messages they hold;
    ``place_count`` is how many damaged places it has to report, and ``quarantined_count`` how many messages cannot be
    read after it: those that are ``unreadable`` in a queue.
    """

    def __init__(self, disk: SimulatedDisk, directory: Path, model: BrokerModel) -> None:
        self.recovered: dict[str, str] = {}
        self.place_count = 0
        self.quarantined_count = 0
        self.unreadable: list[tuple[str, Copy]] = []
        self._disk = disk
        self._directory = directory
        self._model = model
        self._is_reported = False
        self._names: dict[int, str] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        self._before = self._read() or {}

    def strike(self, chance: random.Random, note: Callable[[str], None]) -> None:
        """Damage some record."""
        records = self.places()
        for _ in range(min(TRIES_MAX, len(records))):
            if self.strike_at(*chance.choice(records), chance, note):
                return

    def strike_at(
        self,
        path: Path,
        record: RecordSeen,
        chance: random.Random,
        note: Callable[[str], None],
        index_fate: float | None = None,
    ) -> bool:
        """Damage a record. Returns False, and leaves it, if a start would pass over it."""
        offset, bit = record.offset + chance.randrange(record.size), chance.randrange(8)
        self._disk.flip_bit(str(path), offset, bit)
        after = self._read()
        if after is None or not self._is_reported or self._before.keys() - after.keys() != {record.sequence}:
            # It meant nothing to a start any more, or looks as if it had never been on disk.
            self._disk.flip_bit(str(path), offset, bit)
            return False
        note(f"damaged record {record.sequence}, kind {record.kind}, in {path.name} at {offset}")
        number = number_in(path.name, SEGMENT_PREFIX) or 0
        if self._has_index(number, chance, note, index_fate):
            self._expect_unread(number, record.offset)
        else:
            self.place_count = 1
            self._expect(record.kind, record.payload or b"", after.values())
        return True

    def _read(self) -> dict[int, tuple[int, bytes]] | None:
        """Return what a start would read, None if it would be refused."""
        replay = Replay()
        try:
            recovery = Recovery(self._directory, self._disk)
            if recovery.checkpoint is not None:
                replay.take_checkpoint(recovery.checkpoint.payload)
            records = {sequence: (kind, payload) for kind, sequence, payload, _ in recovery.records()}
        except JournalError:
            return None
        self._is_reported = bool(recovery.damages)
        if not self._is_reported:
            self._names = {number: queue.definition.name for number, queue in replay.queues.items()}
            self._learn(records.values())
        return records

    def _learn(self, records: Iterable[tuple[int, bytes]]) -> None:
        for kind, payload in records:
            if kind in IS_TIMED:
                targets, message = decode_publish(payload, IS_TIMED[kind])
                self._numbers |= dict.fromkeys(targets, number_of(message.body))
            elif kind == RECORD_KINDS["definition"] and isinstance(definition := decode(payload), QueueDeclared):
                self._names[definition.number] = definition.name

    def places(self) -> list[tuple[Path, RecordSeen]]:
        """Return all records on the disk, and the segments that they are in."""
        places: list[tuple[Path, RecordSeen]] = []
        for name in self._disk.list(self._directory):
            number = number_in(name, SEGMENT_PREFIX)
            if number is not None:
                path = self._directory / name
                seen: list[RecordSeen] = []
                survey_segment(self._disk, path, number, seen.append)
                places += [(path, record) for record in seen if record.payload is not None]
        return places

    def _has_index(self, number: int, chance: random.Random, note: Callable[[str], None], fate: float | None) -> bool:
        """Say whether a start will believe the index of a segment, which chance may lose or damage as well."""
        path = str(index_path(self._directory, number))
        if path not in self._disk.names:
            return False
        fate = chance.random() if fate is None else fate
        if fate < INDEX_LOST:
            note("lost its index")
            self._disk.lose(path)
        elif fate < INDEX_KEPT:
            note("damaged its index")
            self._disk.flip_bit(path, chance.randrange(len(self._disk.names[path].seen)), chance.randrange(8))
        return fate >= INDEX_KEPT

    # What it may cost

    def _expect_unread(self, number: int, offset: int) -> None:
        """Expect that messages are missing that are left of a record, and nothing else."""
        replay = Replay()
        recovery = Recovery(self._directory, self._disk)
        if recovery.checkpoint is not None:
            replay.take_checkpoint(recovery.checkpoint.payload)
        recovery.replay(replay.messages)
        location = number << 32 | offset // UNIT_SIZE
        for queue_number, queue in replay.queues.items():
            for position, message, _ in queue.messages.entries(0, len(queue.messages)):
                if isinstance(message, PagedMessage) and message.location == location:
                    self.quarantined_count += 1
                    body_number = self._numbers[queue_number, position]
                    for copy in self._copies(body_number, queue.definition.name):
                        copy.maybe_gone = copy.is_excused = True
                        self.unreadable.append((queue.definition.name, copy))

    def _expect(self, kind: int, payload: bytes, others: Iterable[tuple[int, bytes]]) -> None:
        if kind in IS_TIMED:
            targets, message = decode_publish(payload, IS_TIMED[kind])
            # As long as the record is there from which a message was moved, or to which, one of them is enough.
            twice = {target for kind, payload in others if kind in IS_TIMED for target in targets_of(kind, payload)}
            for queue, position in targets:
                if (queue, position) in twice:
                    continue
                for copy in self._copies(number_of(message.body), self._names.get(queue, "")):
                    copy.maybe_gone = copy.is_excused = True
        elif kind == RECORD_KINDS["settle"]:
            number, _, ranges = decode_settle(payload)
            self._forget_deliveries(self._names.get(number, ""))
            for first, last in ranges:
                for position in range(first, last + 1):
                    if (number, position) in self._numbers:
                        self._bring_back(self._copies(self._numbers[number, position], self._names[number]))
        elif kind == RECORD_KINDS["return"]:
            number, position, _, _ = decode_return(payload)
            if (number, position) in self._numbers:
                self._forget_returns(self._copies(self._numbers[number, position], self._names[number]))
        elif kind == RECORD_KINDS["definition"]:
            self._expect_definition(decode(payload))

    def _expect_definition(self, definition: object) -> None:
        match definition:
            case QueueDeclared(name=name, number=number):
                self._model.declared.discard(name)
                self._model.bound.discard(name)
                self.recovered[f"{RECOVERED_PREFIX}{number}"] = name
                for copy in self._model.copies:
                    # What goes there before somebody declares it anew goes nowhere.
                    copy.maybe_gone = copy.maybe_gone or name in copy.homes[1:]
                # What is made up for them neither counts nor waits.
                self._forget_returns([copy for copy in self._model.copies if name == copy.homes[0]])
            case QueueDeleted(name=name):
                self._bring_back([copy for copy in self._model.copies if name in copy.homes])
                self._forget_deliveries(name)
            case ExchangeDeclared():
                self._model.bound.clear()
            case Bound(destination=destination):
                self._model.bound.discard(destination)

    def _copies(self, number: int, queue: str) -> list[Copy]:
        return [copy for copy in self._model.messages[number - 1].copies if queue in copy.homes]

    def _bring_back(self, copies: list[Copy]) -> None:
        for copy in copies:
            if copy.settled is not None:
                copy.settled, copy.maybe_gone = None, True
            copy.is_excused = True
            # It may have gone on to its dead letter queue as well.
            copy.places_max = len(copy.homes)

    def _forget_returns(self, copies: Iterable[Copy]) -> None:
        for copy in copies:
            copy.returns.clear()

    def _forget_deliveries(self, queue: str) -> None:
        for copy in self._model.copies:
            copy.delivered.pop(queue, None)


def targets_of(kind: int, payload: bytes) -> list[tuple[int, int]]:
    """Return the queues, and the positions there, of the record of a message."""
    targets: list[tuple[int, int]] = decode_publish(payload, IS_TIMED[kind])[0]
    return targets


def number_of(body: bytes) -> int:
    """Return the number of the message with a body."""
    return int(body.partition(b":")[0])
