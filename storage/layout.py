"""The files of a journal: their names, and the headers of those that have one.

docs/journal-format.md explains every field. All numbers are little-endian.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from storage.checksum import crc32c, crc32c_before

FORMAT_VERSION = 1
"""Version 1: the first."""

HEADER_SIZE = 64
LATER_HEADER_SIZE_MAX = 4096
LATER_VERSION_MAX = 9999
SEGMENT_MAGIC = b"HAYSEGMT"
CHECKPOINT_MAGIC = b"HAYCHKPT"

SEGMENT_PREFIX = "segment-"
CHECKPOINT_PREFIX = "checkpoint-"
SPARE_PREFIX = "spare-"
PROOF_PREFIX = "proof-"
RESERVED_SEGMENT_NAME = "reserve-segment"
RESERVED_CHECKPOINT_NAME = "reserve-checkpoint"
INDEX_SUFFIX = ".index"
TEMPORARY_SUFFIX = ".tmp"
NUMBER_DIGITS = 16

_SEGMENT = struct.Struct("<8sIIQQQIIQI")
_CHECKPOINT = struct.Struct("<8sIIQQIIQIQ")
_VERSION = struct.Struct("<II")
_CHECKSUM = struct.Struct("<I")
_FILE_ID = struct.Struct("<Q")
_HALF_FILE_ID = struct.Struct("<I")


class HeaderError(Exception):
    """A header is not what it should be; ``problem`` is "short", "magic", "newer" or "checksum"."""

    def __init__(self, problem: str, detail: str, version: int = 0) -> None:
        super().__init__(detail)
        self.problem = problem
        self.version = version


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What the first 64 bytes of a segment say.

    ``durable`` is a sequence up to which everything was on disk when the segment was prepared.
    """

    file_id: int
    number: int
    durable: int
    epoch: int
    created_us: int

    @property
    def seed(self) -> int:
        """The checksum from which the checksums of the segment's records go on."""
        return crc32c(_FILE_ID.pack(self.file_id))

    @classmethod
    def with_seed(cls, seed: int, number: int, epoch: int) -> "SegmentHeader":
        """Return a header that can take the place of a lost one: the records in its file match its file id."""
        half = bytes(_HALF_FILE_ID.size)
        # Four bytes more take a checksum to any other one, which is linear in them.
        other_half = crc32c(half) ^ crc32c_before(half, seed)
        return cls(int.from_bytes(half + _HALF_FILE_ID.pack(other_half), "little"), number, 0, epoch, 0)

    def encode(self) -> bytes:
        """Return the header's bytes."""
        fields = _SEGMENT.pack(
            SEGMENT_MAGIC, FORMAT_VERSION, HEADER_SIZE, self.file_id, self.number, self.durable, self.epoch, 0,
            self.created_us, 0,
        )  # fmt: skip
        return fields + _CHECKSUM.pack(crc32c(fields))

    @classmethod
    def decode(cls, data: bytes) -> "SegmentHeader":
        """Read a header. Raises HeaderError."""
        check_header(data, SEGMENT_MAGIC)
        _, _, _, file_id, number, durable, epoch, _, created_us, _ = _SEGMENT.unpack_from(data)
        return cls(file_id, number, durable, epoch, created_us)


@dataclass(frozen=True, slots=True)
class CheckpointHeader:
    """What the first 64 bytes of a checkpoint say.

    ``newest_sequence`` is the last record that the state may already contain; 0 says that it is ``sequence``.
    """

    sequence: int
    payload_size: int
    epoch: int
    created_us: int
    payload_checksum: int
    newest_sequence: int = 0

    def encode(self) -> bytes:
        """Return the header's bytes."""
        fields = _CHECKPOINT.pack(
            CHECKPOINT_MAGIC, FORMAT_VERSION, HEADER_SIZE, self.sequence, self.payload_size, self.epoch, 0,
            self.created_us, self.payload_checksum, self.newest_sequence,
        )  # fmt: skip
        fields = fields.ljust(HEADER_SIZE - _CHECKSUM.size, b"\0")
        return fields + _CHECKSUM.pack(crc32c(fields))

    @classmethod
    def decode(cls, data: bytes) -> "CheckpointHeader":
        """Read a header. Raises HeaderError."""
        check_header(data, CHECKPOINT_MAGIC)
        _, _, _, sequence, payload_size, epoch, _, created_us, payload_checksum, newest = _CHECKPOINT.unpack_from(data)
        return cls(sequence, payload_size, epoch, created_us, payload_checksum, newest)


def check_header(data: bytes, magic: bytes) -> None:
    """Check what all headers have in common. Raises HeaderError."""
    if len(data) < HEADER_SIZE:
        raise HeaderError("short", f"the header has {len(data)} bytes instead of {HEADER_SIZE}")
    if not data.startswith(magic):
        raise HeaderError("magic", "the file does not begin as a file of its kind")
    version, size = _VERSION.unpack_from(data, len(magic))
    if version > FORMAT_VERSION and _is_whole(data, version, size):
        raise HeaderError("newer", f"the file has format version {version}", version)
    fields = data[: HEADER_SIZE - _CHECKSUM.size]
    checksum = data[len(fields) : HEADER_SIZE]
    if _CHECKSUM.pack(crc32c(fields)) != checksum:
        raise HeaderError("checksum", "the checksum of the header is wrong")


def _is_whole(data: bytes, version: int, size: int) -> bool:
    """Say whether the header of a later version is one, and not damaged: its last four bytes are its checksum."""
    if size > len(data):
        # More than was read; nobody will ever get that far, but noise easily does.
        return size <= LATER_HEADER_SIZE_MAX and version <= LATER_VERSION_MAX
    fields = data[: max(size - _CHECKSUM.size, 0)]
    return _CHECKSUM.pack(crc32c(fields)) == data[len(fields) : size]


def segment_path(directory: Path, number: int) -> Path:
    """Return where the segment of that number is."""
    return directory / f"{SEGMENT_PREFIX}{number:0{NUMBER_DIGITS}}"


def checkpoint_path(directory: Path, sequence: int) -> Path:
    """Return where the checkpoint as of that sequence is."""
    return directory / f"{CHECKPOINT_PREFIX}{sequence:0{NUMBER_DIGITS}}"


def spare_path(directory: Path, number: int) -> Path:
    """Return where the spare file is that once was the segment of that number."""
    return directory / f"{SPARE_PREFIX}{number:0{NUMBER_DIGITS}}"


def proof_path(directory: Path, sequence: int) -> Path:
    """Return where the empty file is whose name says that everything up to that sequence had been on disk."""
    return directory / f"{PROOF_PREFIX}{sequence:0{NUMBER_DIGITS}}"


def index_path(directory: Path, number: int) -> Path:
    """Return where the index of the segment of that number is."""
    return directory / f"{SEGMENT_PREFIX}{number:0{NUMBER_DIGITS}}{INDEX_SUFFIX}"


def number_in(name: str, prefix: str) -> int | None:
    """Return the number in a file's name, or None if the name is not one with that prefix."""
    digits = name.removeprefix(prefix)
    if digits == name or len(digits) < NUMBER_DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits)
