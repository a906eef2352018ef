"""Settling so many deliveries of a channel at once that it takes several turns of the event loop.

The connection reads nothing meanwhile, so whatever the client has sent after an acknowledgement finds all of it done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from broker.queueing.queue import Queue
from broker.session.unacked import ACKNOWLEDGE, REQUEUE

SETTLED_AT_ONCE_MAX = 5_000
"""A method that settles no more deliveries than this does so at once, whatever others have done in the turn."""


def settle_in_slices(
    channel: Any,
    through_tag: int,
    how: int,
    finished: Callable[[], Any] | None = None,
    queues: Iterable[Queue] = (),
    transaction: Any = None,
) -> None:
    """Settle everything up to a tag, and then call ``finished``; at once as far as this turn goes.

    What the channel is to settle already comes first. ``queues`` are those into which messages may come back, as far as
    that is known. With a ``transaction`` they are settled when it commits.
    """
    if channel.settling is None and not channel.unacked.count:
        # As for most channels that are closed.
        if finished is not None:
            finished()
        return
    if channel.settling is None:
        channel.settling = ChannelSettling(channel)
    channel.settling.add(_Job(through_tag, how, finished, transaction), queues)


class _Job:
    """What one method has asked for: all deliveries up to a tag are settled in one way."""

    def __init__(self, through_tag: int, how: int, finished: Callable[[], Any] | None, transaction: Any) -> None:
        self.through_tag = through_tag
        self.how = how
        self.finished = finished
        self.transaction = transaction
        self.paused: dict[Queue, None] = {}
        self.failure: Exception | None = None


class ChannelSettling:
    """What of the deliveries of a channel is being settled, in the order in which it was asked for.

    To the queues of what comes back nobody is faster: they hand over nothing until all of it is at its place again.
    """

    __slots__ = ("_channel", "_holds", "_jobs")

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._jobs: list[_Job] = []
        self._holds = False

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return not self._jobs

    def add(self, job: _Job, queues: Iterable[Queue]) -> None:
        """See ``settle_in_slices``."""
        if job.how == REQUEUE and self._channel.unacked.count:
            for queue in queues:
                _pause(queue, job.paused)
        self._jobs.append(job)
        if len(self._jobs) == 1:
            self._channel.vhost.settlements.add(self)
            if self._jobs:
                self._holds = True
                self._channel.connection.hold()

    def go_on(self, count_max: int) -> int:
        """Settle up to so many deliveries, and return how many it were."""
        done = 0
        channel = self._channel
        unacked = channel.unacked
        while self._jobs and done < count_max:
            job = self._jobs[0]
            count = self._settle_some(job, count_max - done)
            done += count
            if not unacked.count or unacked.first_delivery_tag > job.through_tag:
                del self._jobs[0]
                if not self._jobs:
                    channel.settling = None
                self._end(job)
        return done

    def _settle_some(self, job: _Job, count_max: int) -> int:
        channel = self._channel
        unacked = channel.unacked
        done = 0
        if job.transaction is not None:
            if job.transaction is channel.transaction:
                return int(job.transaction.settle_some(job.through_tag, job.how, count_max))
            # It was rolled back with its channel.
            job.through_tag = 0
            return 0
        queues = job.paused if job.how == REQUEUE else {}
        while done < count_max:
            # Should one of them fail, the others are settled all the same.
            try:
                count = unacked.settle_some(job.through_tag, job.how, count_max - done, queues)
            except Exception as error:  # noqa: BLE001 (told of at the end)
                job.failure = job.failure or error
                count = unacked.settled_count
            else:
                count_max = 0
            channel.consumed_unacked_count -= unacked.settled_of_consumers
            if job.how == ACKNOWLEDGE:
                channel.vhost.counters.messages_acknowledged += count
            done += count
        if job.how != REQUEUE:
            for queue in queues:
                queue.wake()
        return done

    def _end(self, job: _Job) -> None:
        channel = self._channel
        later = self._holds
        if later and not self._jobs:
            self._holds = False
            channel.connection.release()
        for queue in job.paused:
            # Should one of them fail, the others go on all the same.
            try:
                queue.resume()
            except Exception as error:  # noqa: BLE001 (told of below)
                job.failure = job.failure or error
        if channel.global_prefetch_count and channel.is_open:
            channel.wake_consumers()
        if job.finished is not None:
            job.finished()
        if job.failure is not None:
            if not (later and channel.is_open):
                raise job.failure
            # Nobody is there any more who would tell the client.
            channel.connection.fail(job.failure)


def _pause(queue: Queue, paused: dict[Queue, None]) -> None:
    if queue not in paused:
        paused[queue] = None
        queue.pause()
