"""Checkpoints: the owner's complete state as of a sequence, so that older segments can go."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.checksum import crc32c
from storage.damage import read_around
from storage.filesystem import Filesystem, put_file
from storage.layout import (
    CHECKPOINT_PREFIX,
    HEADER_SIZE,
    CheckpointHeader,
    HeaderError,
    checkpoint_path,
    number_in,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The state after the record ``sequence``, as the owner wrote it, one piece after the other.

    The state may be newer in parts, up to the record ``newest_sequence``: replaying the state records after
    ``sequence`` leads to the same in any case.
    """

    sequence: int
    epoch: int
    pieces: Sequence[bytes]
    newest_sequence: int

    @property
    def payload(self) -> bytes:
        """The whole state."""
        return b"".join(self.pieces)


def write_checkpoint(
    filesystem: Filesystem, directory: Path, checkpoint: Checkpoint, sync_directory: Callable[[], None], time_us: int
) -> int:
    """Put a checkpoint on disk, whole or not at all, remove those before it, and return its size. Raises OSError.

    The records up to the newest in it must be durable already: a checkpoint is believed without them.
    ``sync_directory`` syncs ``directory``.
    """
    size = checksum = 0
    for piece in checkpoint.pieces:
        size += len(piece)
        checksum = crc32c(piece, checksum)
    header = CheckpointHeader(
        checkpoint.sequence, size, checkpoint.epoch, time_us, checksum, checkpoint.newest_sequence
    )
    put_file(filesystem, checkpoint_path(directory, checkpoint.sequence), (header.encode(), *checkpoint.pieces))
    sync_directory()
    remove_checkpoints_before(filesystem, directory, checkpoint.sequence)
    return HEADER_SIZE + size


def remove_checkpoints_before(filesystem: Filesystem, directory: Path, sequence: int) -> None:
    """Remove the checkpoints that a later one has replaced; those that cannot be are tried again with the next one."""
    for name in filesystem.list(directory):
        number = number_in(name, CHECKPOINT_PREFIX)
        if number is not None and number < sequence:
            try:
                filesystem.remove(directory / name)
            except OSError as error:
                logger.warning("removing %s failed: %s", directory / name, error)


def read_checkpoint(filesystem: Filesystem, path: Path) -> Checkpoint:
    """Read a checkpoint whose every byte is as it was written. Raises HeaderError and OSError."""
    data = read_around(filesystem, path)
    header = CheckpointHeader.decode(data)
    payload = data[HEADER_SIZE:]
    if path.name != checkpoint_path(path.parent, header.sequence).name:
        raise HeaderError("number", f"it is the checkpoint of sequence {header.sequence}")
    if len(payload) != header.payload_size:
        raise HeaderError("short", f"it has {len(payload)} bytes of {header.payload_size}")
    if crc32c(payload) != header.payload_checksum:
        raise HeaderError("checksum", "the checksum of the state is wrong")
    return Checkpoint(header.sequence, header.epoch, (payload,), max(header.sequence, header.newest_sequence))
