"""Putting a message into queues when more is to be asked than where it goes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from broker.clock import now_ms
from broker.queueing.deduplication import Deduplicator
from broker.queueing.message import Message
from broker.queueing.queue import MAXLEN, Queue
from broker.routing.gate import ASKS
from protocol.amqp.header_fields import TRAIT_EXPIRES

# What a queue says to a publish.
ACCEPTED = 0
DUPLICATE = 1
OVERFLOW = 2


class Published(NamedTuple):
    """What became of a publish."""

    batch: int
    """The batch of the journal that makes it durable, 0 for none."""
    queue_count: int
    """How many queues have taken it."""
    rejected: bool
    """Whether a queue was full and refused it."""


def publish_to_queues(
    vhost: Any,
    queues: Sequence[Any],
    message: Message,
    gate: Deduplicator | None = None,
    *,
    was_in: Collection[str] = (),
    moved: bool = False,
) -> Published:
    """Put ``message`` into ``queues``, as far as they take it.

    ``gate`` is the deduplicator of the exchange that lets the message in. ``was_in`` are the names of
    the queues in which the message was before: it is no duplicate of itself when it comes back. What is
    ``moved`` stays where it is when a queue refuses it, so it does not go to the dead letters too.
    The channel has a faster way for messages and queues that ask for nothing special.
    """
    counters = vhost.counters
    if message.published_at_ms == 0 and (
        message.traits & TRAIT_EXPIRES or vhost.keeps_history or any(queue.settings.is_timed for queue in queues)
    ):
        message.published_at_ms = now_ms()
    accepted = []
    rejected = False
    pending = 0
    for queue in queues:
        if queue.gate == ASKS:
            verdict = _admit(queue, message, comes_back=queue.name in was_in)
            if verdict == DUPLICATE:
                counters.messages_deduplicated += 1
                # The one that was taken may still be on its way to the disk.
                pending = vhost.journal.journal.pending_batch
                continue
            if verdict == OVERFLOW:
                rejected = True
                if queue.settings.overflow == "reject-publish-dlx" and not moved:
                    queue.discard(message, 0, MAXLEN)
                continue
        accepted.append(queue)
    positions = [queue.next_position() for queue in accepted]
    # What one queue has refused may come again, whatever the others did.
    batch = _write(vhost, accepted, positions, message, None if rejected else gate)
    for queue, position in zip(accepted, positions, strict=True):
        queue.enqueue(message, position, False)
    counters.messages_routed += len(accepted)
    return Published(max(batch, pending), len(accepted), rejected)


def _admit(queue: Queue, message: Message, *, comes_back: bool) -> int:
    """Say whether a queue that ``ASKS`` takes a message: ACCEPTED, DUPLICATE or OVERFLOW.

    What ``comes_back`` from where it was before is no duplicate of itself.
    """
    if not comes_back and queue.deduplicator is not None and queue.deduplicator.is_duplicate(message, now_ms()):
        return DUPLICATE
    settings = queue.settings
    if settings.is_limited and settings.overflow != "drop-head":
        if settings.max_length is not None and queue.ready_count() + 1 > settings.max_length:
            return OVERFLOW
        if (
            settings.max_length_bytes is not None
            and queue.ready_bytes() + len(message.body) > settings.max_length_bytes
        ):
            return OVERFLOW
    return ACCEPTED


def _write(vhost: Any, queues: list[Queue], positions: list[int], message: Message, gate: Deduplicator | None) -> int:
    journal = vhost.journal
    remembering = [queue.deduplicator for queue in queues if queue.deduplicator is not None]
    if gate is not None:
        remembering.append(gate)
    logs = [queue.log for queue in queues]
    if not remembering:
        batch: int = journal.publish_to_many(message, logs, positions) if message.persistent else 0
        return batch
    # The message and the keys that refuse it a second time come together or not at all.
    journal.begin_unit()
    try:
        if message.persistent:
            journal.publish_to_many(message, logs, positions)
        for deduplicator in remembering:
            deduplicator.remember(message, now_ms())
    finally:
        batch = journal.end_unit()
    return batch
