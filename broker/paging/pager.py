"""Paging of one virtual host: writing what no record keeps, reading ahead, and what becomes of damaged messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from broker.durability.queue_log import paged_share_units
from broker.paging.page_in import take_in
from broker.paging.read_retry import PASSING_ERRORS, Reading, ReadRetry
from broker.queueing.ready import PagedMessage
from storage.fetcher import Fetch, FetchStatus
from storage.layout import segment_path
from storage.segment import UNIT_SIZE

if TYPE_CHECKING:
    from broker.paging.page_out import PageOut
    from broker.queueing.message import Message
    from broker.queueing.queue import Queue


# How much of one queue is read at once; less, if many queues are read.
WINDOW_SIZE_MAX_BYTES = 4 * 1024 * 1024
WINDOW_SIZE_MIN_BYTES = 64 * 1024
WINDOW_COUNT_MAX = 8192

# The share of the budget that all windows together may take.
WINDOWS_BUDGET_RATIO = 0.25

# How much is on its way to disk at any time of messages that no record keeps.
WRITING_SIZE_MAX_BYTES = 16 * 1024 * 1024


# Queues that are not durable have numbers from here on in the journal, out of the way of the others.
PAGE_NUMBER_MIN = 1 << 31

# How much is copied of a damaged record beside its body.
QUARANTINE_SLACK_BYTES = 4096

# How many messages that cannot be read are taken out of their queue in one turn of the event loop.
UNREAD_PER_TURN = 32

# So many messages are known, beside, that the disk did not give back; a segment with more stays until the next start.
UNREADABLE_MAX = 100_000

# How many readings of those that are tried again are begun at once; each that ends is followed by another.
RETRIES_AT_ONCE = 16


class _Writing(NamedTuple):
    batch: int
    queue: Queue
    position: int
    message: Message
    location: int
    share_units: int


class Pager:
    """Takes messages out of the memory of a virtual host's queues, and brings them back."""

    def __init__(self, vhost: Any, page_out: PageOut) -> None:
        self._vhost = vhost
        self._page_out = page_out
        self._writing: deque[_Writing] = deque()
        self._writing_bytes = 0
        self._page_number = PAGE_NUMBER_MIN
        # Queues that are being looked at, by how many.
        self._held: Counter[Queue] = Counter()
        # Queues for which there was no room among those that are being read.
        self._postponed: deque[Reading] = deque()
        self._retry = ReadRetry(vhost.name, self._read_again)
        self._is_closed = False
        # By number of the segment, what the disk did not give back: it is in its queue no more.
        self._unreadable: dict[int, list[tuple[Queue, int, PagedMessage, int]]] = {}
        self._last_chances: set[tuple[Queue, int]] = set()
        self._unreadable_count = 0
        # How many fetches are on their way.
        self.reading_count = 0
        page_out.pagers.append(self)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop say when to try again what could not be read."""
        self._retry.attach(loop)

    def close(self) -> None:
        """Page nothing any more."""
        self._is_closed = True
        self._retry.close()
        self._page_out.forget(self)

    def queues(self) -> Iterable[Queue]:
        """Return the queues whose messages may be paged out."""
        queues: Iterable[Queue] = self._vhost.all_queues()
        return queues

    # Out

    def page_out(self, queue: Queue, kept_bytes: int, count_max: int) -> int:
        """Page out messages of a queue, except for ``kept_bytes``. Returns how many are out, or on their way."""
        if queue in self._held:
            return 0
        unwritten: list[tuple[int, Message]] = []
        done = queue.page_out(kept_bytes, count_max, unwritten)
        return done - len(unwritten) + self._write(queue, unwritten)

    def _write(self, queue: Queue, unwritten: list[tuple[int, Message]]) -> int:
        """Write messages that no record keeps, as many as may be on their way to disk, and return how many.

        They stay in memory until that has been done.
        """
        journal = self._vhost.journal
        if journal.journal.failed or journal.journal.out_of_room is not None:
            # What room is left is for what gives room back.
            return 0
        count = 0
        if queue.page_number == 0:
            self._page_number += 1
            queue.page_number = self._page_number if queue.log is None else queue.log.number
            journal.holders[queue.page_number] = queue
        for position, message in unwritten:
            if self._writing_bytes > WRITING_SIZE_MAX_BYTES:
                break
            share_units = paged_share_units(message)
            location = journal.write_paged(message, queue.page_number, position)
            message.share_units = share_units
            self._writing.append(_Writing(journal.journal.open_batch, queue, position, message, location, share_units))
            self._writing_bytes += share_units * UNIT_SIZE
            count += 1
        return count

    def written(self, batch: int) -> None:
        """Take in that the journal has written everything up to ``batch``."""
        while self._writing and self._writing[0].batch <= batch:
            done = self._writing.popleft()
            self._writing_bytes -= done.share_units * UNIT_SIZE
            done.message.share_units = 0
            if not done.queue.page_out_one(done.position, done.message, done.location, done.share_units):
                self._vhost.journal.release_paged(done.location, done.share_units)
        self._page_out.resume()

    # In

    def window_bytes(self) -> int:
        """Return how much of each queue is read at once."""
        together = int(self._page_out.budget.limit_bytes * WINDOWS_BUDGET_RATIO)
        share = together // max(1, self.reading_count)
        return min(WINDOW_SIZE_MAX_BYTES, max(share, min(WINDOW_SIZE_MIN_BYTES, together), 1))

    def want(self, queue: Queue, positions: Sequence[int] = (), finished: Callable[[], Any] | None = None) -> None:
        """Read the next messages of a queue that are paged out, or those at ``positions``.

        The queue's ``on_paged_in`` is called then, and ``finished``.
        """
        reading = Reading(queue, positions, finished)
        if self._retry.holds(reading):
            return
        fetch = Fetch(reading)
        if positions:
            for position in positions:
                queue.collect_one(fetch, position)
        else:
            queue.collect_paged(fetch, WINDOW_COUNT_MAX, self.window_bytes())
        if len(fetch) == 0:
            # They have gone meanwhile.
            self._retry.succeeded(queue)
            self._vhost.turn.want_step(lambda: self._go_on(queue, finished))
        elif self._vhost.journal.journal.fetch(fetch):
            self.reading_count += 1
        else:
            self._postponed.append(reading)

    @contextlib.asynccontextmanager
    async def brought_in(self, queue: Queue, positions: Sequence[int]) -> AsyncIterator[None]:
        """Have the messages at ``positions`` in memory, as far as they are in the queue and can be read.

        Nothing of the queue is paged out until the block ends.
        """
        if not positions or not queue.paged_count():
            yield
            return
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not finished.done():
                finished.set_result(None)

        self._held[queue] += 1
        try:
            self.want(queue, positions, wake)
            await finished
            yield
        finally:
            self._held[queue] -= 1
            if not self._held[queue]:
                del self._held[queue]
            self._page_out.resume()

    def fetched(self, fetch: Fetch) -> None:
        """Take in what was read."""
        reading: Reading = fetch.owner
        self._finish(reading, deque(take_in(fetch, reading.queue, self._vhost.journal)), 0)

    def _finish(self, reading: Reading, troubles: deque[tuple[int, int, int, int]], passing_error: int) -> None:
        """Deal with what could not be read, a few messages in each turn, and let the queue go on then."""
        queue = reading.queue
        for _ in range(min(len(troubles), UNREAD_PER_TURN)):
            position, location, status, error = troubles.popleft()
            if status == FetchStatus.UNREADABLE and error in PASSING_ERRORS:
                passing_error = error
            else:
                self.read_failed(queue, position, location, status, error)
        if troubles:
            self._vhost.turn.want_step(partial(self._finish_later, reading, troubles, passing_error))
            return
        self.reading_count -= 1
        if passing_error:
            self._put_off(reading, passing_error)
        else:
            self._retry.succeeded(queue)
            self._go_on(queue, reading.finished)

    def _finish_later(self, reading: Reading, troubles: deque[tuple[int, int, int, int]], passing_error: int) -> None:
        # Behind the end of the journal nothing can be given up: the next start finds it as it is.
        if not self._is_closed:
            self._finish(reading, troubles, passing_error)

    def _go_on(self, queue: Queue, finished: Callable[[], Any] | None) -> None:
        self._read_postponed()
        queue.on_paged_in()
        if finished is not None:
            finished()

    def _put_off(self, reading: Reading, error: int) -> None:
        """Have tried again what could not be read. What could be is there, so the queue goes on as far as that goes."""
        queue, positions, finished = reading
        self._vhost.counters.page_reads_retried += 1
        self._retry.failed(queue, error)
        self._read_postponed()
        if finished is None:
            # It asks again, if somebody still waits for what is missing.
            queue.on_paged_in()
        elif positions or queue.waits_for_pages():
            self._retry.holds(reading)
        else:
            finished()

    def _read_again(self, readings: list[Reading]) -> None:
        self._postponed.extend(readings)
        for _ in range(RETRIES_AT_ONCE):
            self._read_postponed()

    def _read_postponed(self) -> None:
        """Read the first of what was put off and does not have to wait longer."""
        while self._postponed:
            reading = self._postponed.popleft()
            if not self._retry.holds(reading):
                self.want(*reading)
                break

    def read_failed(self, queue: Queue, position: int, location: int, status: int, error: int) -> None:
        """Take a message out that cannot be read, so that the others go on."""
        if queue.is_paged_at(position, location):
            not_before_ms = 0
            if status == FetchStatus.UNREADABLE:
                not_before_ms = next(
                    (entry[3] for entry in queue.waiting_entries(position, 1) if entry[0] == position), 0
                )
            paged = cast("PagedMessage", queue.remove(position))
            self.give_up(queue, position, paged, status, error, not_before_ms)

    def give_up(
        self, queue: Queue, position: int, paged: PagedMessage, status: int, error: int, not_before_ms: int = 0
    ) -> None:
        """Report a message that cannot be read and is in its queue no more.

        Of a damaged record a copy is kept, and then the journal does not have to keep it. One that the disk does not
        give back may be read after the next start, unless it has had its last chance.
        """
        if (queue, position) in self._last_chances:
            # It has been counted and reported.
            self._last_chances.remove((queue, position))
            self._forget_unread(queue, position, paged)
            return
        self._vhost.counters.messages_quarantined += 1
        number, offset = paged.location >> 32, (paged.location & 0xFFFFFFFF) * UNIT_SIZE
        self._vhost.damage.found_on_reading(
            queue=queue.name,
            position=position,
            file=str(segment_path(self._vhost.journal.journal.directory, number)),
            offset=offset,
            reason="it is damaged" if status == FetchStatus.DAMAGED else f"error {error}",
        )
        if status == FetchStatus.DAMAGED:
            self._forget_unread(queue, position, paged)
        elif self._unreadable_count < UNREADABLE_MAX:
            self._unreadable_count += 1
            self._unreadable.setdefault(number, []).append((queue, position, paged, not_before_ms))

    def report_rewritten(self, number: int, offset: int, count: int) -> None:
        """Report damage in the segment of a number that cost nothing: the messages were in memory."""
        path = segment_path(self._vhost.journal.journal.directory, number)
        self._vhost.damage.found_in_time(count, file=str(path), offset=offset)

    def give_last_chance(self, number: int, count_max: int) -> list[tuple[int, int, int, int]]:
        """Put messages back that the disk did not give back, of the segment of a number, so that it may go.

        They are to be read at once. Those that it refuses again are gone, except for a copy of what it gives back.
        Returns them as ``Leftovers`` knows places.
        """
        places = []
        unreadable = self._unreadable.get(number, [])
        self._last_chances.clear()
        for queue, position, paged, not_before_ms in unreadable[:count_max]:
            self._unreadable_count -= 1
            queue_number = queue.page_number if queue.log is None else queue.log.number
            if self._vhost.journal.holders.get(queue_number) is not queue:
                self._forget_unread(queue, position, paged)
                continue
            self._last_chances.add((queue, position))
            queue.put_in(position, paged, True, not_before_ms)
            places.append((queue_number, position, paged.location, paged.body_size))
        del unreadable[:count_max]
        if not unreadable:
            self._unreadable.pop(number, None)
        return places

    def _forget_unread(self, queue: Queue, position: int, paged: PagedMessage) -> None:
        number, offset = paged.location >> 32, (paged.location & 0xFFFFFFFF) * UNIT_SIZE
        self._vhost.journal.journal.quarantine(number, offset, QUARANTINE_SLACK_BYTES + paged.body_size)
        queue.forget(paged, position)
