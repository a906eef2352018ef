"""What can go wrong with a journal."""

# ruff: noqa: N818 - the names are sentences: journal failed, directory locked.

import os
from pathlib import Path


class JournalError(Exception):
    """Anything that keeps a journal from being opened or written."""


class JournalClosed(JournalError):
    """The journal was closed before the call."""


class JournalFailed(JournalError):
    """The disk refused a write or a sync, and the journal takes nothing any more.

    ``operation`` says what failed ("writing", "syncing", "preparing"), ``errno`` why. After a failed sync nobody
    knows what the disk holds; only opening the journal anew finds out.
    """

    def __init__(self, file: Path, operation: str, errno: int) -> None:
        super().__init__(f"{operation} {file} failed: {os.strerror(errno)}")
        self.file = file
        self.operation = operation
        self.errno = errno


class JournalDamaged(JournalError):
    """Something that had been on disk is not there, or not as it was written.

    ``case`` is the name of the case in the decision table of ``storage.cases``.
    """

    def __init__(self, case: str, file: Path, offset: int, detail: str, with_repair: str) -> None:
        super().__init__(
            f"{file} is damaged at offset {offset}: {detail}; bring the right file back, or run 'haypile journal "
            f"repair', which {with_repair} ({case})"
        )
        self.case = case
        self.file = file
        self.offset = offset


class FormatTooNew(JournalError):
    """A later version of the program wrote this file; nothing was touched."""

    def __init__(self, case: str, file: Path, found: int, known: int) -> None:
        super().__init__(
            f"{file} has format version {found}, this program knows versions up to {known}: "
            f"start the version that wrote it, or a later one ({case})"
        )
        self.case = case
        self.file = file
        self.found = found
        self.known = known


class DirectoryLocked(JournalError):
    """Another process works in this data directory. ``process_id`` is None where it did not say its own."""

    def __init__(self, directory: Path, process_id: int | None) -> None:
        owner = "another process" if process_id is None else f"process {process_id}"
        super().__init__(f"the data directory {directory} is in use by {owner}")
        self.directory = directory
        self.process_id = process_id
