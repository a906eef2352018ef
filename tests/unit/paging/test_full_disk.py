"""On a full disk nothing is paged out that would have to be written: what room is left makes more of it."""

import errno
from pathlib import Path

import pytest

from storage.filesystem import LocalFilesystem
from storage.machine import Machine
from storage.options import JournalOptions
from tests.support.paging_broker import PagingBroker

pytestmark = pytest.mark.timeout(60)

COUNT = 20


class FullDisk(LocalFilesystem):
    """A disk without room for any file, once it is full."""

    is_full = False

    def allocate(self, descriptor: int, size: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "no space left on device")
        super().allocate(descriptor, size)


def test_transient_messages_stay_in_memory_until_there_is_room(tmp_path: Path) -> None:
    disk = FullDisk()
    broker = PagingBroker(tmp_path, Machine(disk), JournalOptions(1 << 20, 1 << 20), message_memory_bytes=600)
    journal = broker.vhost.journal.journal
    queue = broker.declare("q")
    broker.settle()
    disk.is_full = True
    while journal.out_of_room is None:
        broker.publish(queue, size=10_000)
        broker.settle()
    queue.purge()
    broker.settle()
    written = journal.sequence
    broker.publish(queue, count=COUNT, persistent=False)
    broker.settle()
    assert (queue.ready_count(), queue.paged_count()) == (COUNT, 0)
    assert journal.sequence == written
    disk.is_full = False
    while journal.out_of_room is not None:
        journal.retry()
        journal.on_commit_finished()
    broker.vhost.pager.page_out(queue, 0, COUNT)
    broker.settle()
    assert queue.paged_count() == COUNT
    broker.crash()
