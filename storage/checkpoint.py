"""Checkpoints: the owner's complete state as of a sequence, so that older segments can go."""

from dataclasses import dataclass
from pathlib import Path

from storage.checksum import crc32c
from storage.filesystem import Filesystem
from storage.layout import (
    CHECKPOINT_PREFIX,
    HEADER_SIZE,
    TEMPORARY_SUFFIX,
    CheckpointHeader,
    HeaderError,
    checkpoint_path,
    number_in,
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after the record ``sequence``, as the owner wrote it."""

    sequence: int
    epoch: int
    payload: bytes


def write_checkpoint(filesystem: Filesystem, directory: Path, checkpoint: Checkpoint, time_us: int) -> None:
    """Put a checkpoint on disk, whole or not at all, and remove those before it. Raises OSError.

    The records up to its sequence must be durable already: a checkpoint is believed without them.
    """
    payload = checkpoint.payload
    header = CheckpointHeader(checkpoint.sequence, len(payload), checkpoint.epoch, time_us, crc32c(payload))
    path = checkpoint_path(directory, checkpoint.sequence)
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    descriptor = filesystem.open(temporary, create=True)
    try:
        filesystem.write(descriptor, header.encode(), 0)
        filesystem.write(descriptor, payload, HEADER_SIZE)
        filesystem.sync(descriptor)
    finally:
        filesystem.close(descriptor)
    filesystem.rename(temporary, path)
    filesystem.sync_directory(directory)
    for name in filesystem.list(directory):
        sequence = number_in(name, CHECKPOINT_PREFIX)
        if sequence is not None and sequence < checkpoint.sequence:
            filesystem.remove(directory / name)


def read_checkpoint(filesystem: Filesystem, path: Path) -> Checkpoint:
    """Read a checkpoint whose every byte is as it was written. Raises HeaderError and OSError."""
    data = filesystem.read(path)
    header = CheckpointHeader.decode(data)
    payload = data[HEADER_SIZE:]
    if path.name != checkpoint_path(path.parent, header.sequence).name:
        raise HeaderError("number", f"it is the checkpoint of sequence {header.sequence}")
    if len(payload) != header.payload_size:
        raise HeaderError("short", f"it has {len(payload)} bytes of {header.payload_size}")
    if crc32c(payload) != header.payload_checksum:
        raise HeaderError("checksum", "the checksum of the state is wrong")
    return Checkpoint(header.sequence, header.epoch, payload)
