"""The table of decisions: every state in which a journal's files can be found, and what is done about it.

docs/recovery.md says the same with words. The principle: where the records end, something is *torn* if nothing proves
that it had ever been on disk, and *damaged* if anything does. What is torn is cut. What is damaged is never served and
never silently dropped: it costs itself, a copy of it is kept, and it is reported. A start is refused only where a whole
file is missing or foreign, because somebody may still have the right one.
"""

from enum import Enum, auto


class Action(Enum):
    """What is done about a case."""

    KEEP = auto()
    SETTLE = auto()  # write again what may not be on disk, cut what comes after, sync
    SPARE = auto()  # keep the file to be overwritten
    REMOVE = auto()
    SKIP = auto()  # copy the octets into the quarantine, report them, and go on behind them
    REFUSE = auto()


class Case(Enum):
    """Every state in which something can be found, and what is done about it.

    "Proof" that a record had been on disk is a later record, segment header or checkpoint that says so.
    """

    # Of a segment's header. It was synced before the file got its name, so it is never torn. What it says beside the
    # file id is said by the file's name and its records too, and of the file id only its checksum is needed, which
    # any two neighbouring records tell.
    HEADER_SHORT = (Action.SKIP, "the file ends within its header, or is empty")
    HEADER_MAGIC = (Action.SKIP, "the file does not begin as a segment")
    HEADER_CHECKSUM = (Action.SKIP, "the header does not match its checksum")
    HEADER_LOST = (Action.SKIP, "the header is damaged, and no record in the file stands in for it")
    HEADER_NUMBER = (Action.REFUSE, "the header is that of another segment")
    HEADER_NEWER = (Action.REFUSE, "a later version of the program wrote the file")

    # Of the segments together.
    FRONT_MISSING = (Action.REFUSE, "segments before the first one are missing and were not reclaimed")
    FRONT_UNPROVED = (Action.SKIP, "whether the segments before the first one were reclaimed stood in what is damaged")
    NUMBER_GAP = (Action.REFUSE, "a segment is missing between two others and was not reclaimed")
    GAP_UNPROVED = (
        Action.SKIP,
        "whether the segments missing between two others were reclaimed stood in what is damaged",
    )
    SEQUENCE_GAP = (Action.SKIP, "records are missing between two others")
    SEQUENCE_REPEATED = (Action.REFUSE, "records come a second time")
    END_MISSING = (Action.REFUSE, "the log ends before a record that had been on disk")

    # Of the place where the whole records of a segment end.
    SEGMENT_COMPLETE = (Action.KEEP, "a mark or the end of the file follows the last record")
    RECORD_DAMAGED = (Action.SKIP, "no whole record, and proof that there was one")
    SEGMENT_UNUSED = (Action.SPARE, "no record at all, and no proof that there was one")
    CLEAN_STOP = (Action.SETTLE, "the log ends with the mark of a clean stop")
    LOG_END = (Action.SETTLE, "the log ends with a whole batch, and zeros or the end of the file follow")
    STALE_TAIL = (Action.SETTLE, "the log ends with a whole batch, and bytes of the file's earlier life follow")
    TORN_TAIL = (Action.SETTLE, "a part of a batch whose commit had not ended follows the last whole record")
    UNIT_UNFINISHED = (Action.SETTLE, "the log ends in the middle of a unit")
    AFTER_END = (Action.SPARE, "the segment lies behind the end of the log")

    # Of checkpoints.
    CHECKPOINT_USED = (Action.KEEP, "the newest one")
    CHECKPOINT_OLD = (Action.REMOVE, "there is a newer one")
    CHECKPOINT_BAD_UNUSED = (Action.REMOVE, "it is damaged, and the log does without it")
    CHECKPOINT_BAD = (Action.REFUSE, "it is damaged, and segments were reclaimed because of it")
    CHECKPOINT_MISSING = (Action.REFUSE, "segments were reclaimed because of a checkpoint that is not there")
    CHECKPOINT_NEWER = (Action.REFUSE, "a later version of the program wrote the checkpoint")

    # Of indexes. They can always be made again.
    INDEX_USED = (Action.KEEP, "the index of a segment, which is read instead of it")
    INDEX_BAD = (Action.REMOVE, "an index that is damaged, or not that of the segment; it is made again")
    INDEX_ORPHAN = (Action.REMOVE, "the index of a segment that is gone")

    # Of other files.
    SPARE = (Action.KEEP, "a file to be overwritten")
    RESERVE = (Action.KEEP, "room that is held for a full disk")
    PROOF = (Action.KEEP, "a note that records had been on disk, which nothing else says")
    PROOF_OLD = (Action.REMOVE, "a note that records had been on disk, which is not needed any more")
    TEMPORARY = (Action.REMOVE, "a file that had not got its name yet")
    FOREIGN = (Action.KEEP, "nothing of the journal's; it is left alone")

    def __init__(self, action: Action, found: str) -> None:
        self.action = action
        self.found = found


HEADER_CASES = {
    "short": Case.HEADER_SHORT,
    "magic": Case.HEADER_MAGIC,
    "checksum": Case.HEADER_CHECKSUM,
}

LOSSES = (Case.TORN_TAIL, Case.UNIT_UNFINISHED)
"""The cases in which something is cut that someone had written."""

HARMLESS = (Case.HEADER_MAGIC, Case.HEADER_CHECKSUM, Case.FRONT_UNPROVED, Case.GAP_UNPROVED)
"""The damages that cost no record, or are none of the octets."""

WITH_REPAIR = {
    Case.HEADER_NUMBER: "puts the file aside and goes on without it",
    Case.FRONT_MISSING: "goes on without those segments",
    Case.NUMBER_GAP: "goes on without that segment",
    Case.SEQUENCE_REPEATED: "puts the rest of the segment aside and goes on without it",
    Case.END_MISSING: "goes on without those records",
    Case.CHECKPOINT_BAD: "puts the checkpoint aside and goes on with the definitions that are left in the log",
    Case.CHECKPOINT_MISSING: "goes on with the definitions that are left in the log",
}
"""What ``haypile journal repair`` does about the cases that a start refuses."""
