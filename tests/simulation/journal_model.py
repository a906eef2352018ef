"""What a journal's owner appended, what it was told, and what a start has to find accordingly."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.simulation.violation import demand

MESSAGE, SETTLED, NAME = 1, 2, 128
_NUMBER = struct.Struct("<Q")

Record = tuple[int, int, bytes]  # sequence, kind, payload


@dataclass
class State:
    """What a journal's records add up to: messages by number, and a state that only checkpoints keep."""

    messages: dict[int, bytes] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def apply(self, kind: int, payload: bytes) -> None:
        if kind == NAME:
            self.names = [*self.names[-3:], payload.decode()]
        elif kind == MESSAGE:
            self.messages[number_of(payload)] = payload
        else:
            for (number,) in _NUMBER.iter_unpack(payload[_NUMBER.size :]):
                self.messages.pop(number, None)


def number_of(payload: bytes) -> int:
    """Return the number of the message, or of the settlement, in a payload."""
    number: int = _NUMBER.unpack_from(payload)[0]
    return number


def message(number: int, body: bytes) -> bytes:
    """Return the payload of a message."""
    return _NUMBER.pack(number) + body


def settlement(number: int, settled: Sequence[int]) -> bytes:
    """Return the payload that settles messages."""
    return b"".join(map(_NUMBER.pack, (number, *settled)))


@dataclass
class Unit:
    """Records that count only together, and the batch that makes them durable."""

    records: list[Record]
    batch: int

    @property
    def last(self) -> int:
        return self.records[-1][0]


@dataclass
class JournalModel:
    """The history of one journal through all its lives.

    Of ``units``, the first ``durable`` are on disk: whatever happens, they are found. ``proven`` of them are so by
    the word of something that came after them: they are found or missed even where the disk is damaged.
    """

    units: list[Unit] = field(default_factory=list)
    durable: int = 0
    proven: int = 0

    def on_durable(self, batch: int) -> None:
        """The journal said that a batch is on disk."""
        self.proven = self.durable
        while self.durable < len(self.units) and self.units[self.durable].batch <= batch:
            self.durable += 1

    def on_closed(self) -> None:
        """The journal was closed, and did not fail."""
        demand(self.durable == len(self.units), "a journal is closed when everything is on disk")
        self.proven = self.durable

    def state(self, count: int) -> State:
        """Return the state after so many units."""
        state = State()
        for unit in self.units[:count]:
            for _, kind, payload in unit.records:
                state.apply(kind, payload)
        return state

    def on_recovered(self, last_sequence: int, found: Sequence[Record], state: State, *, damaged: bool) -> None:
        """Judge what a start has found, and take it for what there is from now on.

        ``found`` are the records it handed out, ``state`` what they and the checkpoint add up to.
        """
        count = sum(unit.last <= last_sequence for unit in self.units)
        floor = self.proven if damaged else self.durable
        demand(count >= floor, f"what is durable is found: {floor} units, not only {count}")
        written = {record[0]: record for unit in self.units[:count] for record in unit.records}
        for record in found:
            demand(written.get(record[0]) == record, f"nothing is found that was not written: record {record[0]}")
        sequences = [record[0] for record in found]
        demand(sequences == sorted(set(sequences)), "records are found once, in their order")
        expected = self.state(count)
        demand(
            state == expected,
            f"the state is that after some unit: {sorted(state.messages)} {state.names} instead of "
            f"{sorted(expected.messages)} {expected.names}",
        )
        del self.units[count:]
        # Batches are counted anew by each journal, and what was found counts from the first one.
        for unit in self.units:
            unit.batch = 0

    def on_opened(self) -> None:
        """The journal is open again, and has brought on disk whatever it has found."""
        self.durable = len(self.units)
        # The next segment's header says so. It is written when the start is over, maybe.
        self.proven = min(self.proven, self.durable)
