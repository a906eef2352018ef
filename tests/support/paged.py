"""Reading what is paged out, for tests that look into queues."""

from broker.paging.page_in import take_in
from broker.queueing.queue import Queue
from broker.vhost import VirtualHost
from storage.disk import Disk
from storage.fetcher import Fetch
from storage.stepped_fetcher import SteppedFetcher

EVERYTHING = 1 << 40
NO_EVENTFD = -1


def read_back(vhost: VirtualHost, queue: Queue, disk: Disk | None = None) -> Queue:
    """Take all messages of a queue back into memory, as far as they can be read, and return the queue."""
    journal = vhost.journal.journal
    fetcher = SteppedFetcher(disk or Disk(), journal.directory, NO_EVENTFD)
    while True:
        fetch = Fetch()
        for position in [entry[0] for entry in (*queue.entries(0, EVERYTHING), *queue.waiting_entries(0, EVERYTHING))]:
            queue.collect_one(fetch, position)
        if len(fetch) == 0:
            break
        journal.add_sources(fetch)
        fetcher.submit(fetch)
        fetcher.step()
        fetcher.take_finished()
        for position, location, status, error in take_in(fetch, queue, vhost.journal):
            vhost.pager.read_failed(queue, position, location, status, error)
    fetcher.stop()
    return queue


def read_back_all(vhost: VirtualHost, disk: Disk | None = None) -> None:
    """Do so for all queues of a virtual host."""
    for queue in vhost.all_queues():
        read_back(vhost, queue, disk)
