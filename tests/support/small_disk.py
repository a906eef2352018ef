"""Real file systems that are small, can be filled, frozen, and lose what lies beneath them.

They have to be mounted, which only root may do; tests that want one are skipped elsewhere.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MEBIBYTE = 1 << 20
SLACK_BYTES = 32_768


class SmallDisk:
    """A mounted file system. ``path`` is where."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    @property
    def free_bytes(self) -> int:
        """How much of it is free."""
        return shutil.disk_usage(self.path).free

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all room but so much."""
        with self._ballast.open("ab") as file:
            wanted = self.free_bytes - leave_bytes
            while wanted > SLACK_BYTES:
                try:
                    os.posix_fallocate(file.fileno(), file.tell(), wanted)
                    file.seek(0, os.SEEK_END)
                    wanted = self.free_bytes - leave_bytes
                except OSError:
                    # The file system needs some of it for itself.
                    wanted = wanted * 7 // 8

    def make_room(self) -> None:
        """Give back what ``fill`` took."""
        self._ballast.unlink()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let writes and syncs wait as long as this lasts."""
        run("fsfreeze", "--freeze", str(self.path))
        try:
            yield
        finally:
            run("fsfreeze", "--unfreeze", str(self.path))


def run(*command: str) -> None:
    """Run a command of the system, or skip the test where that is not possible."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        pytest.skip(f"{command[0]} does not work here: {reason.strip()}")


@contextmanager
def mounted(directory: Path, *arguments: str) -> Iterator[Path]:
    """Mount something at ``directory`` for a while."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount file systems")
    directory.mkdir()
    run("mount", *arguments, str(directory))
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True, timeout=30)


@contextmanager
def memory_disk(directory: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """A small file system in memory."""
    with mounted(directory, "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs") as path:
        yield SmallDisk(path)


@contextmanager
def image_disk(directory: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """A small ext4 in a file, with all that a block device's file system does."""
    image = directory.with_suffix(".image")
    with image.open("wb") as file:
        file.truncate(size_bytes)
    run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
    with mounted(directory, "-o", "loop", str(image)) as path:
        yield SmallDisk(path)
