"""A transaction of a channel (class tx): publishes and settlements that happen together, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from broker.logs import get_logger
from broker.queueing.consumer import Consumer
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.routing.route import Route
from broker.session.settling import settle_in_slices
from broker.session.unacked import REQUEUE
from protocol.amqp.errors import AMQPError, ChannelException, precondition_failed
from protocol.amqp.methods import TxCommit

log = get_logger("channel")

Publish = tuple[Route, Message, int]
Settlement = tuple[int, Message, int, Queue, Consumer | None, int]


class Transaction:
    """What a channel has gathered since tx.select, the last commit or the last rollback.

    On commit it all becomes one unit of the journal: after a crash there is all of it, or nothing.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._publishes: list[Publish] = []
        self._settlements: list[Settlement] = []
        self._commit: Commit | None = None
        self.was_rejected = False

    def publish(self, route: Route, message: Message, flags: int) -> None:
        """Publish a message at the commit."""
        self._publishes.append((route, message, flags))

    def settle(self, delivery_tag: int, how: int) -> None:
        """Settle a delivery at the commit. It is taken out of the channel's unacknowledged ones now."""
        unacked = self._channel.unacked
        message = unacked.pop(delivery_tag)
        self._settlements.append((delivery_tag, message, unacked.position, unacked.queue, unacked.consumer, how))

    def settle_some(self, through_tag: int, how: int, count_max: int) -> int:
        """Do so with the first deliveries, up to a tag and so many, and return how many it were."""
        unacked = self._channel.unacked
        count = 0
        while count < count_max and unacked.count and unacked.first_delivery_tag <= through_tag:
            self.settle(unacked.first_delivery_tag, how)
            count += 1
        return count

    def held_messages(self) -> list[tuple[Message, int, Queue]]:
        """Return the deliveries that are settled at the commit, as (message, position, queue)."""
        settlements = self._settlements
        if self._commit is not None:
            settlements = [*settlements, *self._commit.settlements]
        return [(message, position, queue) for _, message, position, queue, _, _ in settlements]

    def commit(self, finished: Callable[[int], Any]) -> None:
        """Do it all, and call ``finished`` with the batch of the journal that makes it durable.

        Where something is refused the channel is closed instead: at once, by an exception, or later. With
        PRECONDITION_FAILED a full queue has refused a publish; the rest is done then.
        """
        channel = self._channel
        publishes, settlements = self._publishes, self._settlements
        self._publishes, self._settlements = [], []
        commit = Commit(channel, self, publishes, settlements, finished)
        self._commit = commit
        channel.vhost.commits.add(commit)
        if not commit.is_finished:
            commit.is_late = True
            channel.connection.hold()

    def committed(self, left: list[Settlement]) -> None:
        """Take in that the commit has ended. What is ``left``, because it was refused, is as before tx.commit."""
        self._commit = None
        self._settlements[:0] = left
        if left and not self._channel.is_open:
            # What the channel held was given back when it ended, but for what the commit held.
            self.rollback()
            settle_in_slices(self._channel, self._channel.unacked.last_delivery_tag, REQUEUE)

    def rollback(self) -> None:
        """Forget the publishes, and make the settled deliveries unacknowledged again."""
        if self._publishes:
            self._channel.vhost.settlements.add(Forgotten(self._publishes))
        self._publishes = []
        held = sorted([settlement[:5] for settlement in self._settlements], key=lambda entry: entry[0])
        self._settlements = []
        if held:
            self._channel.unacked.restore(held)


class Forgotten:
    """Publishes of which there will be nothing: to let go of many messages takes its time too."""

    def __init__(self, publishes: list[Publish]) -> None:
        self._publishes = publishes
        self.is_finished = False

    def go_on(self, count_max: int) -> int:
        """Let go of so many."""
        count = min(count_max, len(self._publishes))
        del self._publishes[len(self._publishes) - count :]
        self.is_finished = not self._publishes
        return count


class Commit:
    """A commit, which takes several turns of the event loop where it is a large one.

    Nothing of the journal is written from its first record to its last, whoever it comes from: so the disk sees it as
    a whole.
    """

    def __init__(
        self,
        channel: Any,
        transaction: Transaction,
        publishes: list[Publish],
        settlements: list[Settlement],
        finished: Callable[[int], Any],
    ) -> None:
        self.settlements = settlements
        self.is_finished = False
        self.is_late = False
        self._channel = channel
        self._transaction = transaction
        self._publishes = publishes
        self._finals: list[Route] = []
        self._finished = finished
        # They are taken from the end, so that each goes when it is done with.
        publishes.reverse()
        settlements.reverse()
        self._steps = self._run()

    def go_on(self, count_max: int) -> int:
        """Do so much of it, and return how much it was."""
        done = 0
        self.is_finished = True
        try:
            for cost in self._steps:
                done += cost
                if done >= count_max:
                    self.is_finished = False
                    return done
        except Exception as error:
            if not self.is_late:
                raise
            self._fail(error)
        return done

    def _fail(self, error: Exception) -> None:
        """Tell the client, whom nobody else tells any more."""
        channel = self._channel
        if not channel.is_open:
            # A refusal concerns nobody else, whose work in this turn or as the broker stops must go on.
            if not isinstance(error, AMQPError):
                log.error("internal error", exc_info=error)
            return
        if isinstance(error, AMQPError):
            error.of_method(TxCommit())
        if isinstance(error, ChannelException):
            channel.connection.close_channel(channel.number, error)
        elif isinstance(error, AMQPError):
            channel.connection.close_for(error)
        else:
            channel.connection.fail(error)

    def _run(self) -> Iterator[int]:
        """Do it, and say after each step what it has cost: as many as messages are put into queues, or settled."""
        try:
            yield from self._check()
            queues: dict[Queue, None] = {}
            journal = self._channel.vhost.journal
            journal.begin_unit()
            try:
                yield from self._publish()
                yield from self._settle(queues)
            finally:
                # A unit that never ended would keep whatever anybody does after it from the disk.
                batch = journal.end_unit()
        finally:
            self._transaction.committed(self.settlements[::-1])
            if self.is_late:
                self._channel.connection.release()
        for queue in queues:
            queue.wake()
        if self._transaction.was_rejected:
            raise precondition_failed("partial tx completion")
        self._finished(batch)

    def _check(self) -> Iterator[int]:
        # Whatever can be refused is refused before anything is done: an exchange may have gone since the publish.
        for route, message, _ in reversed(self._publishes):
            self._finals.append(self._channel.final_route(route, message))
            yield 1
        self._finals.reverse()

    def _publish(self) -> Iterator[int]:
        channel = self._channel
        taps = channel.vhost.taps.publishing
        while self._publishes:
            route, message, flags = self._publishes.pop()
            final = self._finals.pop()
            if self.is_late:
                # What was found is some turns old.
                try:
                    final = channel.final_route(route, message)
                except ChannelException:
                    # Its exchange has gone meanwhile, and might as well have lost its bindings.
                    channel.vhost.counters.messages_unroutable_dropped += 1
                    yield 1
                    continue
            if taps is not None:
                taps.routed(channel, final, message)
            channel.put_message(final, message, flags)
            yield 1 + len(final.queues)

    def _settle(self, queues: dict[Queue, None]) -> Iterator[int]:
        channel = self._channel
        while self.settlements:
            _, message, position, queue, consumer, how = self.settlements.pop()
            queues[channel.settle_taken(message, position, queue, consumer, how)] = None
            yield 1
