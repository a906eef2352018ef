"""From what recovery found of a queue's messages to the queue."""

import os

from broker.clock cimport now_ms
from broker.durability.message_replay cimport ReplayedQueue
from broker.durability.queue_log cimport VirtualHostJournal
from broker.paging.page_in cimport take_in_for
from broker.queueing.message cimport Message
from broker.queueing.queue cimport Queue
from broker.queueing.ready cimport PAGED_OUT, PagedMessage, ReadyMessages
from storage.fetcher cimport UNREADABLE, Fetch

from broker.paging.read_retry import PASSING_ERRORS
from storage.stepped_fetcher import SteppedFetcher

cdef enum:
    READ_COUNT_MAX = 8192
    READ_SIZE_MAX_BYTES = 4 << 20
    NO_EVENTFD = -1
    # What a queue keeps in memory while the others are being restored, if there is too little.
    KEPT_BYTES = 64 * 1024
    COUNT_MAX = 1 << 30
    # How often a read is tried again that failed for want of descriptors or memory, before the start is given up.
    ATTEMPTS_MAX = 10

# How long it takes until the next attempt.
cdef double ATTEMPT_DELAY_S = 0.2


def restore_messages(
    Queue queue not None, ReplayedQueue replayed not None, VirtualHostJournal journal not None, machine, give_up
):
    cdef ReadyMessages messages = replayed.messages
    cdef dict returns = replayed.returns
    cdef list positions
    settings = queue.settings
    messages.flag_redelivered(replayed.delivered_position)
    if settings.is_timed or settings.max_priority or settings.group_header is not None:
        restore_read(queue, messages, returns, journal, machine, give_up)
        return
    positions = [
        position
        for position in sorted(replayed.expiring.union([at for at, held in returns.items() if held[1] > now_ms()]))
        if messages.whereabouts(position) == PAGED_OUT
    ]
    to_read = ReadyMessages()
    for position in positions:
        message = messages.remove(position)
        to_read.insert(message, position, messages.taken_redelivered)
    queue.adopt(messages, {at: held[0] for at, held in returns.items() if messages.whereabouts(at)})
    restore_read(queue, to_read, returns, journal, machine, give_up)


cdef int restore_read(
    Queue queue, ReadyMessages messages, dict returns, VirtualHostJournal journal, object machine, object give_up
) except -1:
    """Read messages that are paged out, and restore them one by one."""
    cdef Fetch fetch
    cdef Message message
    cdef PagedMessage paged
    cdef int attempts = 0, passing_error
    fetcher = SteppedFetcher(machine.disk, journal.journal.directory, NO_EVENTFD)
    while messages.count:
        fetch = Fetch()
        messages.collect_paged(fetch, READ_COUNT_MAX, READ_SIZE_MAX_BYTES)
        journal.journal.add_sources(fetch)
        fetcher.submit(fetch)
        fetcher.step()
        fetcher.take_finished()
        passing_error = 0
        for position, location, status, error in take_in_for(fetch, queue.log.number, None, messages, journal):
            if status == UNREADABLE and error in PASSING_ERRORS:
                passing_error = error
                continue
            paged = messages.remove(position)
            give_up(queue, position, paged, status, error)
        while True:
            message = messages.take_first()
            if message is None:
                break
            count, not_before_ms = returns.get(messages.taken_position, (0, 0))
            queue.restore(message, messages.taken_position, messages.taken_redelivered, count, not_before_ms)
        if queue.budget.used_bytes > queue.budget.limit_bytes:
            queue.page_out(KEPT_BYTES, COUNT_MAX, [])
        attempts = attempts + 1 if passing_error else 0
        if attempts == ATTEMPTS_MAX:
            fetcher.stop()
            raise OSError(passing_error, os.strerror(passing_error), str(journal.journal.directory))
        if passing_error:
            machine.pause(ATTEMPT_DELAY_S)
    fetcher.stop()
    return 0
