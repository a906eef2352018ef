"""Messages on their way out of one queue into others: dead letters, and delayed messages whose time has come."""

from __future__ import annotations

from collections import deque
from typing import Any

from broker.clock import now_ms
from broker.dead_lettering.deaths import Death, is_cycle, record_death
from broker.logs import get_logger
from broker.publishing import publish_to_queues
from broker.queueing.message import Message
from broker.queueing.queue import DELIVERY_LIMIT, EXPIRED, MAXLEN, REJECTED, Queue

log = get_logger("dead letters")

# How many messages are moved in one turn of the event loop; they are one unit of the journal.
TRANSFERS_PER_TURN_MAX = 1024
# And so many octets of bodies, so that the unit stays small; one message always goes.
TRANSFER_SIZE_PER_TURN_MAX_BYTES = 16 * 1024 * 1024

# How many cycles of dead letters are remembered, so that each is logged once.
CYCLES_LOGGED_MAX = 1000

_COUNTERS = {
    REJECTED: "messages_dead_lettered_rejected",
    EXPIRED: "messages_dead_lettered_expired",
    MAXLEN: "messages_dead_lettered_maxlen",
    DELIVERY_LIMIT: "messages_dead_lettered_delivery_limit",
}


class Transfers:
    """The messages that leave queues for others in this turn.

    Publishing a message here and taking it out there is one unit of the journal: after a crash the message is in
    one place or in the other.
    """

    def __init__(self, vhost: Any) -> None:
        self._vhost = vhost
        self._pending: deque[tuple[Queue, Message, int, str | None]] = deque()
        self._cycles_logged: set[tuple[str, ...]] = set()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, queue: Queue, message: Message, position: int, reason: str) -> None:
        """Take over a dead letter that has left ``queue``. ``position`` is 0 for one that never was in it."""
        self._pending.append((queue, message, position, reason))
        self._vhost.turn.want_step(self.run)

    def release(self, store: Queue, message: Message, position: int) -> None:
        """Take over a message that a delayed message exchange has held back until now."""
        self._pending.append((store, message, position, None))
        self._vhost.turn.want_step(self.run)

    def run(self) -> None:
        """Move what has gathered, as far as one turn goes; what a move sets free belongs to it."""
        journal = self._vhost.journal
        if journal.journal.failed:
            # Nothing is written any more: the messages stay where they are on disk.
            return
        journal.begin_unit()
        try:
            size_bytes = 0
            for _ in range(TRANSFERS_PER_TURN_MAX):
                if not self._pending or size_bytes > TRANSFER_SIZE_PER_TURN_MAX_BYTES:
                    break
                size_bytes += len(self._pending[0][1].body)
                self._move(*self._pending.popleft())
        finally:
            if self._pending:
                self._vhost.turn.want_step(self.run)
            journal.end_unit()

    def _move(self, queue: Queue, message: Message, position: int, reason: str | None) -> None:
        # Should its way fail, the mistake is told of, and the message stays in the journal: the queue has it again
        # after the next start.
        if reason is None:
            self._vhost.publish_due(queue, message)
            queue.finish(message, position)
        else:
            self._dead_letter(queue, message, reason)
            if position:
                queue.forget(message, position)

    def _dead_letter(self, queue: Queue, message: Message, reason: str) -> None:
        settings = queue.settings
        exchange = self._vhost.exchanges.get(settings.dead_letter_exchange)
        counters = self._vhost.counters
        setattr(counters, _COUNTERS[reason], getattr(counters, _COUNTERS[reason]) + 1)
        if exchange is None:
            return
        dead, keys, deaths = record_death(
            message,
            queue=queue.name,
            reason=reason,
            now_ms=now_ms(),
            exchange=exchange.name,
            routing_key=settings.dead_letter_routing_key,
        )
        targets = self._vhost.find_queues(exchange, keys, dead)
        if reason != REJECTED:
            targets = [target for target in targets if not self._drops_cycle(target.name, deaths)]
        publish_to_queues(self._vhost, targets, dead, was_in={death.queue for death in deaths})

    def _drops_cycle(self, target: str, deaths: list[Death]) -> bool:
        if not is_cycle(target, deaths):
            return False
        cycle = (target, *(death.queue for death in deaths))
        if cycle not in self._cycles_logged and len(self._cycles_logged) < CYCLES_LOGGED_MAX:
            self._cycles_logged.add(cycle)
            log.warning("message dropped: dead letters would go in circles", vhost=self._vhost.name, queues=cycle)
        return True
