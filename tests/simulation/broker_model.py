"""What clients did and were told, and what a broker owes them accordingly.

The model does not say what the broker does next, which is for the broker to choose. It knows what must not be: that a
confirmed message is lost, that one comes back that was settled, that one is delivered twice at a time or to the wrong
queue, or out of order, or before its time, or that a crash leaves a part of what happens together.
"""

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from broker.clock import now_ms
from tests.simulation.violation import Violation, demand


@dataclass(eq=False)
class Event:
    """Something the broker has done, and the journal's sequence that makes it durable, once that is known."""

    life: int
    sequence: int | None = None


@dataclass(eq=False)
class Return:
    """A message has come back to a queue, which must not deliver it again before a time."""

    event: Event
    not_before_ms: int


@dataclass(eq=False)
class Copy:
    """A message in one queue, or in the other one that it is dead-lettered to.

    Where a damaged record was about it, it may be in both (``places_max``), and ``is_excused`` from what happens to
    others at the same time.
    """

    message: "Message"
    homes: tuple[str, ...]
    durable: bool
    holder: object = None
    held_in: str = ""
    settled: Event | None = None
    maybe_gone: bool = False
    delivered: dict[str, Event] = field(default_factory=dict)
    returns: list[Return] = field(default_factory=list)
    seen_in_life: int = 0
    places_max: int = 1
    is_excused: bool = False

    @property
    def required(self) -> bool:
        return self.message.confirmed and self.durable and self.settled is None and not self.maybe_gone

    def __str__(self) -> str:
        return f"message {self.message.number} of {self.homes[0]}"


@dataclass(frozen=True)
class Counting:
    """What a queue does that counts how often messages come back: they wait, or go to its dead letters at a limit."""

    delay_ms: int = 0
    limit: int = sys.maxsize


@dataclass(eq=False)
class Group:
    """What happens together: a publish to several queues, or a transaction."""

    life: int
    published: list[Copy] = field(default_factory=list)
    settled: list[Copy] = field(default_factory=list)


@dataclass(eq=False)
class Message:
    """A message that a client has sent. ``order`` counts those that its publisher's channel has published."""

    number: int
    publisher: object
    persistent: bool
    size: int
    order: int = 0
    life: int = 0
    published: bool = False
    confirmed: bool = False
    copies: list[Copy] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"%d:" % self.number + bytes([self.number % 251]) * self.size


class BrokerModel:
    """The history of one virtual host through all its lives.

    Of the returns of a message the model knows at least some: what was on its way to a client comes back without one.
    ``declared`` and ``bound`` are the queues of which the broker has said that they are, and stay.
    """

    def __init__(
        self, dead_letter_queues: dict[str, str], transient_queues: Iterable[str], counting: Mapping[str, Counting]
    ) -> None:
        self.dead_letter_queues = dead_letter_queues
        self.counting = counting
        self.transient_queues = set(transient_queues)
        self.declared: set[str] = set()
        self.bound: set[str] = set()
        self.life = 0
        self.messages: list[Message] = []
        self.copies: list[Copy] = []
        self.groups: list[Group] = []
        self._unstamped: list[Event] = []
        self._events: list[Event] = []
        self._deleted: list[Copy] = []
        self._order = 0
        self._last_first: dict[tuple[object, str, object], int] = {}

    # Publishing

    def new_message(self, publisher: object, persistent: bool, size: int) -> Message:
        """Return a message that is going to be sent."""
        self.messages.append(Message(len(self.messages) + 1, publisher, persistent, size))
        return self.messages[-1]

    def on_published(self, message: Message, queues: Iterable[str], group: Group | None = None) -> Group:
        """The broker has taken a message, which goes to these queues."""
        if group is None:
            group = Group(self.life)
            self.groups.append(group)
        self._order += 1
        message.order, message.life, message.published = self._order, self.life, True
        for queue in queues:
            homes = tuple(name for name in (queue, self.dead_letter_queues.get(queue)) if name)
            copy = Copy(message, homes, message.persistent and queue not in self.transient_queues)
            message.copies.append(copy)
            self.copies.append(copy)
            if copy.durable:
                group.published.append(copy)
        return group

    # Delivering and settling

    def on_delivered(
        self,
        queue: str,
        body: bytes,
        redelivered: bool,
        holder: object,
        *,
        delivery_count: int = 0,
        audit: bool = False,
    ) -> Copy:
        """A client got a message out of a queue, which says how often it has come back."""
        digits = body.partition(b":")[0]
        known = digits.isdigit() and 0 < int(digits) <= len(self.messages)
        message = self.messages[int(digits) - 1] if known else None
        demand(message is not None and message.body == body, f"what is delivered was sent: {body[:40]!r}")
        assert message is not None
        demand(message.published, f"what was never taken is not delivered: message {message.number}")
        copy = next((copy for copy in message.copies if queue in copy.homes), None)
        if copy is None:
            raise Violation(f"a message is where it was routed to: message {message.number} is in {queue}")
        copy.places_max -= copy.holder is not None
        demand(copy.places_max > 0, f"nobody else has it at the same time: {copy}")
        demand(copy.settled is None, f"what was settled does not come again: {copy} in {queue}")
        demand(copy.durable or message.life == self.life, f"what is not durable does not outlive the broker: {copy}")
        if queue in copy.delivered and not copy.is_excused:
            demand(redelivered, f"what comes again is flagged: {copy} in {queue}")
        if not redelivered and queue == copy.homes[0] and not audit:
            # Of what two consumers have got, nobody sees in which order they read it.
            course = (message.publisher, queue, holder)
            before = self._last_first.get(course, 0)
            demand(message.order > before, f"messages come in the order of their publishing: {copy}")
            self._last_first[course] = message.order
        if queue in self.counting and copy.returns and not copy.is_excused:
            demand(
                delivery_count >= len(copy.returns),
                f"each return is counted: {copy}, {delivery_count} of {len(copy.returns)}",
            )
            early_ms = copy.returns[-1].not_before_ms - now_ms()
            demand(early_ms <= 0, f"what came back waits before it comes again: {copy}, {early_ms} ms longer")
        copy.holder, copy.held_in = holder, queue
        copy.seen_in_life = self.life
        copy.delivered[queue] = self._new_event()
        return copy

    def on_settled(self, copy: Copy, queue: str, how: str, group: Group | None = None) -> None:
        """The broker has taken in that a delivery was acknowledged, rejected or requeued."""
        copy.holder = None
        if how == "requeue":
            self._on_returned(copy)
        if how == "requeue" or (how == "reject" and queue in self.dead_letter_queues):
            return
        copy.settled = self._new_event()
        if group is not None:
            group.settled.append(copy)

    def on_cut(self, holder: object) -> None:
        """A client is gone, and what it held goes back."""
        for copy in self.copies:
            if copy.holder is holder:
                copy.holder = None
                self._on_returned(copy)

    def _on_returned(self, copy: Copy) -> None:
        counting = self.counting.get(copy.held_in)
        if counting is not None and len(copy.returns) < counting.limit:
            copy.returns.append(Return(self._new_event(), now_ms() + counting.delay_ms))

    def on_emptied(self, queue: str) -> list[Copy]:
        """The broker has purged or deleted a queue. Returns what was in it."""
        emptied = [copy for copy in self.copies if queue in copy.homes and copy.settled is None]
        for copy in emptied:
            copy.maybe_gone = True
        return emptied

    def on_deleted(self, copies: Iterable[Copy]) -> None:
        """The broker has said that a queue is deleted. What was in it may still be on its way to consumers."""
        self._deleted += copies

    def _new_event(self) -> Event:
        event = Event(self.life)
        self._unstamped.append(event)
        self._events.append(event)
        return event

    # Life and death

    def on_turn(self, sequence: int) -> None:
        """A turn of the loop has ended, and all that was done is in the journal up to a sequence."""
        for event in self._unstamped:
            event.sequence = sequence
        self._unstamped.clear()

    def on_life_ended(self, durable_sequence: int) -> None:
        """The broker is gone. What it had done is sure up to a sequence, and the rest is not."""
        lost = {id(e) for e in self._events if e.sequence is None or e.sequence > durable_sequence}
        for copy in self.copies:
            copy.holder = None
            # What its first queue had delivered comes again with the flag, also if nothing of it is on disk; in the
            # queue of the dead letters it may be another one then.
            copy.delivered = {
                queue: event
                for queue, event in copy.delivered.items()
                if id(event) not in lost or queue == copy.homes[0]
            }
            copy.returns = [each for each in copy.returns if id(each.event) not in lost]
            if copy.settled is not None and id(copy.settled) in lost:
                copy.settled, copy.maybe_gone = None, True
        for copy in self._deleted:
            copy.settled = Event(self.life, 0)
        self._deleted.clear()
        self._events.clear()
        self._unstamped.clear()
        self._last_first.clear()
        self.life += 1

    # The end

    def on_audit(self, found: dict[str, list[Copy]], waited: Collection[Copy] = (), unread_count: int = 0) -> None:
        """Judge what all queues hold, which nobody else consumes, but for so many that the disk did not give back.

        Those that may have ``waited`` come when their time has come, behind others.
        """
        present = {copy for copies in found.values() for copy in copies}
        unread: set[Copy] = set()
        for copy in self.copies:
            if copy.required and copy not in present:
                demand(len(unread) < unread_count, f"what was confirmed and not settled is there: {copy}")
                unread.add(copy)
        for queue, copies in found.items():
            last: dict[object, int] = {}
            for copy in copies:
                if copy.homes[0] == queue and copy not in waited:
                    demand(
                        last.get(copy.message.publisher, 0) < copy.message.order,
                        f"messages are in the order of their publishing: {copy}",
                    )
                    last[copy.message.publisher] = copy.message.order
        # Of a group whose parts were not confirmed it may be any that the disk did not give back.
        for group in self.groups if unread_count == 0 else ():
            self._check_group(group, present)

    def _check_group(self, group: Group, present: set[Copy]) -> None:
        """See that all of a group has outlived its life, or nothing."""
        if group.life == self.life:
            return
        if any(copy.is_excused for copy in (*group.published, *group.settled)):
            return
        done: set[bool] = set()
        for copy in group.published:
            if copy in present or copy.seen_in_life > group.life:
                done.add(True)
            elif copy.settled is None and not copy.maybe_gone:
                done.add(False)
        for copy in group.settled:
            if copy in present or copy.seen_in_life > group.life:
                done.add(False)
        demand(len(done) < 2, f"what happens together outlives a crash together: {[*map(str, group.published)]}")
