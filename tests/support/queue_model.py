"""Queues as lists: what a broker with a few durable queues has to do, in as few words as possible.

Everything happens at once: a message that can be delivered is, and what is due has been done. Dead letters go
through the default exchange to the queue that a queue's settings name.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from broker.queueing.settings import QueueSettings

REJECTED, EXPIRED, MAXLEN, DELIVERY_LIMIT = "rejected", "expired", "maxlen", "delivery_limit"
FOREVER = 1 << 62


@dataclass(eq=False)
class ModelMessage:
    """A message; ``deaths`` are (queue, reason, count), the latest first."""

    body: bytes
    persistent: bool
    keys: list[str]
    priority: int | None = None
    expiration_ms: int | None = None
    delay_ms: int = 0
    message_id: str | None = None
    group: str | None = None
    deaths: list[tuple[str, str, int]] = field(default_factory=list)
    published_at: int = 0
    published_at_on_disk: int = 0


@dataclass(eq=False)
class Entry:
    """A message in a queue."""

    message: ModelMessage
    position: int
    redelivered: bool = False
    returns: int = 0
    not_before: int = 0
    not_before_on_disk: int = 0


@dataclass
class Group:
    """The entries with one key: one is offered or out, the others wait."""

    out: Entry | None = None
    offered: Entry | None = None


class ModelQueue:
    """One durable queue."""

    def __init__(self, name: str, settings: QueueSettings, broker: ModelBroker) -> None:
        self.name, self.broker = name, broker
        self.settings = settings
        self.ready: list[Entry] = []
        self.waiting: list[Entry] = []
        self.unacked: list[Entry] = []
        self.next_position = 1
        self.delivered_position = 0
        self.groups: dict[str, Group] = {}
        self.group_arrivals: list[Entry] = []
        self.seen: dict[str, int] = {}
        self.keys_kept: dict[str, bool] = {}
        self.credit = 0
        """How many messages consumers can take, or -1 for any number, which they do not acknowledge."""

    # Time

    def wanted_at(self, entry: Entry) -> int:
        """When a message wants to be delivered."""
        message = entry.message
        if not self.settings.delayed or not message.delay_ms:
            return 0
        self.stamp(message)
        return message.published_at + message.delay_ms

    def stamp(self, message: ModelMessage) -> None:
        if message.published_at == 0:
            message.published_at = self.broker.now

    def expiry(self, entry: Entry) -> int:
        times = [time for time in (self.settings.message_ttl_ms, entry.message.expiration_ms) if time is not None]
        if not times:
            return FOREVER
        self.stamp(entry.message)
        return max(entry.message.published_at, self.wanted_at(entry)) + min(times)

    def expire(self, before_now: int = 0) -> None:
        now = self.broker.now - before_now
        due = [entry for entry in self.ready + self.waiting if self.expiry(entry) <= now]
        for entry in sorted(due, key=lambda entry: (self.expiry(entry), entry.position)):
            self.take_out(entry)
            self.discard(entry, EXPIRED)

    def on_due(self) -> None:
        self.expire(1)
        arriving = sorted(
            (entry for entry in self.waiting if entry.not_before <= self.broker.now),
            key=lambda entry: (entry.not_before, entry.position),
        )
        for entry in arriving:
            self.waiting.remove(entry)
            self.offer(entry)
        if arriving:
            self.deliver_ready()
            self.drop_overflow()
        self.expire()

    # Groups

    def group_of(self, entry: Entry) -> Group | None:
        if self.settings.group_header is None or entry.message.group is None:
            return None
        return self.groups.setdefault(entry.message.group, Group())

    def is_offered(self, entry: Entry) -> bool:
        group = self.group_of(entry)
        return group is None or group.offered is entry

    def settled(self, entry: Entry) -> None:
        """A message is no longer out: the next of its group is offered."""
        group = self.group_of(entry)
        if group is not None and group.out is entry:
            group.out = None
            self.offer_next(group, entry.message.group)

    def offer_next(self, group: Group, key: str | None) -> None:
        following = [entry for entry in self.ready if entry.message.group == key]
        if following:
            group.offered = min(following, key=lambda entry: entry.position)
            self.group_arrivals.remove(group.offered)

    # Coming and going

    def order(self, entry: Entry) -> tuple[int, int]:
        return -min(entry.message.priority or 0, self.settings.max_priority), entry.position

    def head(self) -> Entry | None:
        return min((entry for entry in self.ready if self.is_offered(entry)), key=self.order, default=None)

    def offer(self, entry: Entry) -> None:
        self.ready.append(entry)
        group = self.group_of(entry)
        if group is not None:
            if group.out is None and group.offered is None:
                group.offered = entry
            else:
                self.group_arrivals.append(entry)

    def take_out(self, entry: Entry) -> None:
        """Remove a message for good."""
        if entry in self.waiting:
            self.waiting.remove(entry)
            return
        self.ready.remove(entry)
        group = self.group_of(entry)
        if group is not None and group.offered is entry:
            group.offered = None
            self.offer_next(group, entry.message.group)
        elif group is not None:
            self.group_arrivals.remove(entry)

    def drop_overflow(self) -> None:
        settings = self.settings
        if not settings.is_limited or settings.overflow != "drop-head":
            return
        while self.ready and self.is_over(len(self.ready), self.size()):
            head = self.head() or self.group_arrivals[0]
            self.take_out(head)
            self.discard(head, MAXLEN)

    def size(self) -> int:
        return sum(len(entry.message.body) for entry in self.ready)

    def is_over(self, count: int, size: int) -> bool:
        limits = self.settings
        return (limits.max_length is not None and count > limits.max_length) or (
            limits.max_length_bytes is not None and size > limits.max_length_bytes
        )

    def admits(self, message: ModelMessage) -> str:
        settings = self.settings
        # A dead letter that comes back is no duplicate of itself.
        comes_back = any(name == self.name for name, _, _ in message.deaths)
        if settings.deduplication and message.message_id is not None and not comes_back:
            seen_at = self.seen.get(message.message_id)
            if seen_at is not None and seen_at + settings.deduplication_window_ms > self.broker.now:
                return "duplicate"
        over = self.is_over(len(self.ready) + 1, self.size() + len(message.body))
        return "overflow" if over and settings.is_limited and settings.overflow != "drop-head" else ""

    def enqueue(self, entry: Entry) -> None:
        not_before = self.wanted_at(entry)
        if not_before > self.broker.now:
            entry.not_before = not_before
            self.waiting.append(entry)
            return
        if not self.ready and self.credit and self.settings.group_header is None:
            self.deliver(entry)
            return
        self.offer(entry)
        if self.settings.group_header is not None:
            self.deliver_ready()
        self.drop_overflow()
        self.expire()

    def wake(self) -> None:
        self.expire()
        self.deliver_ready()

    def deliver_ready(self) -> None:
        while self.credit and (head := self.head()) is not None:
            self.take(head, no_ack=self.credit < 0)
            self.broker.delivered.append((self, head))
            self.credit -= self.credit > 0

    def deliver(self, entry: Entry) -> None:
        self.ready.append(entry)
        self.take(entry, no_ack=self.credit < 0)
        self.broker.delivered.append((self, entry))
        self.credit -= self.credit > 0

    def take(self, entry: Entry, *, no_ack: bool) -> None:
        """Hand a message out."""
        self.ready.remove(entry)
        group = self.group_of(entry)
        if group is not None:
            group.offered, group.out = None, entry
        if no_ack:
            self.settled(entry)
            return
        self.unacked.append(entry)
        if entry.message.persistent:
            self.delivered_position = max(self.delivered_position, entry.position)

    def requeue(self, entry: Entry) -> None:
        self.unacked.remove(entry)
        settings, now = self.settings, self.broker.now
        entry.redelivered = True
        delay = 0
        if settings.counts_deliveries:
            entry.returns += 1
            if settings.delivery_limit is not None and entry.returns > settings.delivery_limit:
                self.settled(entry)
                self.discard(entry, DELIVERY_LIMIT)
                return
            delay = settings.redelivery_delay_after_ms(entry.returns)
            entry.not_before_on_disk = now + delay if delay else 0
        if self.expiry(entry) <= now:
            self.settled(entry)
            self.discard(entry, EXPIRED)
            return
        if delay:
            entry.not_before = now + delay
            self.waiting.append(entry)
        else:
            self.offer(entry)
        self.settled(entry)
        self.drop_overflow()

    def settle(self, entry: Entry, how: str) -> None:
        """Acknowledge, reject or requeue; the caller wakes the queue."""
        if how == "requeue":
            self.requeue(entry)
            return
        self.unacked.remove(entry)
        self.settled(entry)
        if how == "reject":
            self.discard(entry, REJECTED)

    def discard(self, entry: Entry, reason: str) -> None:
        if self.settings.dead_letter_exchange is not None:
            self.broker.transfers.append((self, entry.message, reason))

    def apply(self, settings: QueueSettings) -> None:
        if settings == self.settings:
            return
        same_groups = settings.group_header == self.settings.group_header
        self.settings = settings
        out = {key: Group(group.out) for key, group in self.groups.items() if group.out is not None}
        self.groups = out if same_groups else {}
        self.group_arrivals.clear()
        before, self.ready = self.ready, []
        for entry in sorted(before, key=lambda entry: entry.position):
            self.offer(entry)
        for entry in self.ready + self.waiting:
            self.expiry(entry)
        if self.ready:
            self.wake()
        self.drop_overflow()

    def purge(self) -> int:
        count = len(self.ready)
        self.ready.clear()
        self.waiting.clear()
        self.group_arrivals.clear()
        for group in self.groups.values():
            group.offered = None
        return count

    def restart(self) -> None:
        kept = [entry for entry in self.ready + self.waiting + self.unacked if entry.message.persistent]
        self.ready, self.waiting, self.unacked = [], [], []
        self.seen = {key: seen_at for key, seen_at in self.seen.items() if self.keys_kept[key]}
        self.groups.clear()
        self.group_arrivals.clear()
        self.credit = 0
        for entry in sorted(kept, key=lambda entry: entry.position):
            entry.message.published_at = entry.message.published_at_on_disk
        for entry in sorted(kept, key=lambda entry: entry.position):
            entry.redelivered = entry.position <= self.delivered_position
            entry.not_before = max(entry.not_before_on_disk, self.wanted_at(entry))
            if entry.not_before > self.broker.now:
                self.waiting.append(entry)
            else:
                self.offer(entry)
        for entry in self.ready + self.waiting:
            self.expiry(entry)


class ModelBroker:
    """The queues, and what is on its way between them."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.queues: dict[str, ModelQueue] = {}
        self.transfers: deque[tuple[ModelQueue, ModelMessage, str]] = deque()
        self.delivered: list[tuple[ModelQueue, Entry]] = []

    def publish(self, message: ModelMessage, queues: list[ModelQueue]) -> bool:
        """Put a message into queues. Returns whether one has refused it."""
        if message.expiration_ms is not None or any(queue.settings.is_timed for queue in queues):
            message.published_at = message.published_at or self.now
        message.published_at_on_disk = message.published_at
        accepted = []
        rejected = False
        for queue in queues:
            verdict = queue.admits(message)
            if verdict == "":
                accepted.append((queue, Entry(message, queue.next_position)))
                queue.next_position += 1
                if queue.settings.deduplication and message.message_id is not None:
                    queue.seen[message.message_id] = self.now
                    # A transient message and its key are gone after a restart.
                    queue.keys_kept[message.message_id] = message.persistent
            elif verdict == "overflow":
                rejected = True
                if queue.settings.overflow == "reject-publish-dlx":
                    queue.discard(Entry(message, 0), MAXLEN)
        for queue, entry in accepted:
            queue.enqueue(entry)
        return rejected

    def settle(self) -> None:
        """Do all that is due."""
        while True:
            while self.transfers:
                self.dead_letter(*self.transfers.popleft())
            due = [queue for queue in self.queues.values() if self.is_due(queue)]
            if not due:
                return
            for queue in due:
                queue.on_due()

    def is_due(self, queue: ModelQueue) -> bool:
        return any(queue.expiry(entry) <= self.now for entry in queue.ready + queue.waiting) or any(
            entry.not_before <= self.now for entry in queue.waiting
        )

    def dead_letter(self, queue: ModelQueue, message: ModelMessage, reason: str) -> None:
        deaths = list(message.deaths)
        count = next((count for name, why, count in deaths if (name, why) == (queue.name, reason)), 0)
        deaths = [death for death in deaths if death[:2] != (queue.name, reason)]
        deaths.insert(0, (queue.name, reason, count + 1))
        key = queue.settings.dead_letter_routing_key
        keys = message.keys if key is None else [key]
        targets = [self.queues[name] for name in dict.fromkeys(keys) if name in self.queues]
        if reason != REJECTED:
            targets = [target for target in targets if not is_cycle(target.name, deaths)]
        dead = replace(message, keys=keys, expiration_ms=None, deaths=deaths, published_at=0, published_at_on_disk=0)
        self.publish(dead, targets)

    def restart(self) -> None:
        """Begin anew with what is on disk."""
        for queue in self.queues.values():
            queue.restart()

    def persistent_count(self) -> int:
        """How many messages the journal has to keep, once for each queue that holds one."""
        return sum(
            entry.message.persistent
            for queue in self.queues.values()
            for entry in queue.ready + queue.waiting + queue.unacked
        )


def is_cycle(target: str, deaths: list[tuple[str, str, int]]) -> bool:
    """Whether a message came back to a queue by no client's doing."""
    names = [name for name, _, _ in deaths]
    if target not in names:
        return False
    return all(reason != REJECTED for _, reason, _ in deaths[: names.index(target) + 1])
