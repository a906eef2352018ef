import os
import subprocess
import sys

import pytest

from storage.errors import DirectoryLocked
from storage.lock import DirectoryLock

HOLD = """
import pathlib, sys
from storage.lock import DirectoryLock
lock = DirectoryLock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
input()
"""


def test_two_locks_exclude_each_other(tmp_path):
    with DirectoryLock(tmp_path), pytest.raises(DirectoryLocked, match=f"process {os.getpid()}"):
        DirectoryLock(tmp_path)
    DirectoryLock(tmp_path).release()


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    arguments = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(DirectoryLocked) as caught:
            DirectoryLock(tmp_path)
        assert caught.value.process_id == process.pid
        process.kill()
        process.wait()
        DirectoryLock(tmp_path).release()


def test_a_lock_file_without_a_process_id(tmp_path):
    lock = DirectoryLock(tmp_path)
    (tmp_path / "lock").write_bytes(b"?")
    with pytest.raises(DirectoryLocked, match="another process"):
        DirectoryLock(tmp_path)
    lock.release()
