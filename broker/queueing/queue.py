"""The queue: what is ready, who consumes, and how one meets the other."""

from typing import Any

import cython

from broker.durability.queue_log import QueueLog
from broker.queueing.backlog import Backlog
from broker.queueing.consumer import Consumer
from broker.queueing.consumer_list import ConsumerList
from broker.queueing.contents import QueueContents
from broker.queueing.host import QueueHost
from broker.queueing.message import Message
from broker.queueing.ready import PagedMessage, ReadyMessages
from broker.queueing.settings import PLAIN, QueueSettings
from broker.routing.gate import ASKS, OPEN, STAMPS
from broker.turn import Turn
from protocol.amqp.header_fields import TRAIT_EXPIRES

if not cython.compiled:
    from broker.clock import now_ms

# So many octets of a body cost about as much as a message does without one.
BODY_SIZE_AS_MESSAGE_BITS = 9

# How many messages one call takes in hand for which something is due or has changed, for the same reason.
DUE_COUNT_MAX = 2048

# How many messages one that arrives may push out of a queue that is far too long.
ARRIVAL_DROPS_MAX = 16

# How many of its first messages a queue that is being consumed should have in memory.
READ_AHEAD_COUNT_MIN = 4096

# Why a message leaves a queue without having been acknowledged, in RabbitMQ's words.
REJECTED = "rejected"
EXPIRED = "expired"
MAXLEN = "maxlen"
DELIVERY_LIMIT = "delivery_limit"


class Queue(QueueContents):
    """A queue of one virtual host.

    Messages have positions: numbers that grow by one with each message of the queue. A message that comes back is
    again where its position says. ``log`` is the queue's side of the journal, None for a queue that does not
    survive its broker.

    While a message is ready, no consumer has credit (it is then *starved*), or the queue waits in the turn for
    going on: so a message that finds the queue empty can go straight to a consumer.

    A queue whose settings ask for more than first in, first out, or that has got a message which expires, is
    *managed*: a ``Backlog`` then holds its messages. ``host`` takes the messages that are dead-lettered, and calls
    ``on_due`` at the times that the queue asks for.
    """

    def __init__(
        self,
        name: str,
        *,
        durable: bool,
        auto_delete: bool,
        exclusive_owner: Any,
        arguments: dict[str, Any],
        log: QueueLog | None,
        turn: Turn,
        host: QueueHost | None = None,
        settings: QueueSettings = PLAIN,
    ) -> None:
        super().__init__(log, host if host is not None else QueueHost())
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.exclusive_owner = exclusive_owner
        self.arguments = arguments
        self._consumers = ConsumerList()
        self.consumers = self._consumers.consumers
        self.deleted = False
        self.unacked_count = 0
        self.turn = turn
        self.deduplicator: Any = None
        self.gate = OPEN
        self.timer_due_ms = 0
        self._starved = True
        self.pause_count = 0
        self._pages_wanted = False
        self._step_wanted = False
        self._next_position = 1
        self._unused_since_ms = now_ms()
        self.taken_position = 0
        self.taken_redelivered = False
        self._taken_return_count = 0
        self.settings = PLAIN
        self.apply(settings)

    def next_position(self) -> int:
        """Give out the position of the next message."""
        position: cython.ulonglong = self._next_position
        self._next_position = position + 1
        return position

    # Settings

    def apply(self, settings: QueueSettings) -> None:
        """Make ``settings`` hold, for what is in the queue as well."""
        self.settings = settings
        self._consumers.set_single(settings.single_active_consumer)
        rejects = settings.is_limited and settings.overflow != "drop-head"
        if rejects or settings.deduplication:
            self.gate = ASKS
        else:
            is_kept = self.log is not None and self.host.keeps_history
            self.gate = STAMPS if settings.is_timed or is_kept else OPEN
        if self._backlog is None:
            if settings.is_managed:
                self._rebuild_backlog()
        elif not self._backlog.follow(settings):
            self._rebuild_backlog()
        if self._backlog is not None:
            self._note_expiries()
            if cython.cast(Backlog, self._backlog).count:
                # What waited for its group may have nothing to wait for any more.
                self.wake()
            self._drop_overflow()
        self.ask_for_timer()

    def _manage(self) -> Backlog:
        """Become a managed queue."""
        if self._backlog is None:
            self._rebuild_backlog()
        return cython.cast(Backlog, self._backlog)

    def _rebuild_backlog(self) -> None:
        backlog = Backlog.for_settings(self.settings, self.budget)
        if self._backlog is not None:
            backlog.take_over(self._backlog)
        else:
            backlog.take_over_ready(self._ready, self._ready_bytes)
            self._ready = ReadyMessages(self.budget)
            self._ready_bytes = 0
        self._backlog = backlog

    def _go_on_later(self) -> int:
        """Go on in the next turn with what is too much for one, after a change of settings above all."""
        if not self._step_wanted:
            self._step_wanted = True
            self.turn.want_step(self._go_on)
        return 0

    def _go_on(self) -> None:
        self._step_wanted = False
        if not self.deleted and self._backlog is not None:
            self._note_expiries()
            self._drop_overflow()
            self.ask_for_timer()

    def _note_expiries(self) -> int:
        if cython.cast(Backlog, self._backlog).note_expiries(DUE_COUNT_MAX):
            self._go_on_later()
        return 0

    # Publishing

    def enqueue(self, message: Message, position: cython.ulonglong, redelivered: cython.bint) -> int:
        """Take a message in: to a consumer at once if one has credit, else behind all others."""
        if self._backlog is not None or message.traits & TRAIT_EXPIRES:
            return self._enqueue_managed(message, position, redelivered)
        if not self._starved and self._ready.is_empty():
            consumer = self._consumers.next_with_credit()
            if consumer is not None:
                return self._hand_over(consumer, message, position, redelivered)
            self._starved = True
        self._ready.append(message, position, redelivered)
        self._ready_bytes += len(message.body)
        return 0

    def _enqueue_managed(self, message: Message, position: cython.ulonglong, redelivered: cython.bint) -> int:
        backlog: Backlog = self._manage()
        if backlog.delayed:
            not_before_ms: cython.ulonglong = backlog.delay_of(message)
            if not_before_ms > now_ms():
                backlog.delay(message, position, redelivered, not_before_ms)
                self.ask_for_timer()
                return 0
        if not self._starved and backlog.count == 0 and backlog.groups is None:
            consumer = self._consumer_with_credit()
            if consumer is not None:
                return self._hand_over(consumer, message, position, redelivered)
        backlog.offer(message, position, redelivered)
        return self._after_arrival()

    def _after_arrival(self) -> int:
        backlog: Backlog = self._manage()
        if backlog.groups is not None and not self._starved:
            # Before anything expires: with a time to live of 0 it still goes to a consumer that has credit.
            self._deliver_managed()
        self._drop_overflow()
        if backlog.expiries.length():
            self._expire(now_ms(), DUE_COUNT_MAX)
            self.ask_for_timer()
        return 0

    def _drop_overflow(self) -> int:
        """Drop from the head what is too much."""
        settings = self.settings
        backlog: Backlog
        if not settings.is_limited or self._backlog is None or settings.overflow != "drop-head":
            return 0
        backlog = self._backlog
        if not backlog.is_sorted():
            return 0
        count_max = settings.max_length
        size_max = settings.max_length_bytes
        # While there is far too much, others drop it turn by turn, and an arrival only makes room for itself.
        left: cython.int = ARRIVAL_DROPS_MAX if self._step_wanted else DUE_COUNT_MAX
        while backlog.count and (
            (count_max is not None and backlog.count > count_max)
            or (size_max is not None and backlog.size_bytes > size_max)
        ):
            if left == 0:
                return self._go_on_later()
            left -= 1
            message = backlog.take_head(settings.dead_letter_exchange is None)
            if message is None:
                if backlog.first_is_paged():
                    self._want_pages()
                break
            self.discard(message, backlog.taken_position, MAXLEN)
        return 0

    # Delivering

    def wake(self) -> int:
        """Go on delivering, because a consumer has got credit."""
        if self._consumers.passed_over:
            self._consumers.readmit()
        if self._backlog is not None:
            return self._wake_managed()
        if self.pause_count:
            return 0
        self._starved = False
        done: cython.Py_ssize_t = 0
        done_max: cython.Py_ssize_t = self.turn.share()
        while not self._ready.is_empty():
            if done >= done_max:
                self.turn.wake_later(self)
                break
            consumer = self._consumer_with_credit()
            if consumer is None:
                break
            message = self._ready.take_first()
            if message is None:
                self.turn.hand_over_left -= done
                return self._want_pages()
            self._ready_bytes -= len(message.body)
            done += 1 + (len(message.body) >> BODY_SIZE_AS_MESSAGE_BITS)
            self._hand_over(consumer, message, self._ready.taken_position, self._ready.taken_redelivered)
        self.turn.hand_over_left -= done
        # Not before something was consumed: what is read for nobody would only be paged out again.
        if done and self._ready.paged_count:
            self._read_ahead()
        return 0

    def pause(self) -> int:
        """Hand over nothing to consumers until ``resume`` is called: messages come back that go before others."""
        self.pause_count += 1
        self._starved = True
        return 0

    def resume(self) -> int:
        """Go on, unless somebody else has paused the queue too."""
        self.pause_count -= 1
        return self.wake()

    def _wake_managed(self) -> int:
        if cython.cast(Backlog, self._backlog).expiries.length():
            self._expire(now_ms(), DUE_COUNT_MAX)
        return self._deliver_managed()

    def _deliver_managed(self) -> int:
        backlog: Backlog = self._manage()
        if self.pause_count or not (backlog.is_sorted() or self._sort(backlog)):
            return 0
        self._starved = False
        done: cython.Py_ssize_t = 0
        done_max: cython.Py_ssize_t = self.turn.share()
        while backlog.count:
            if done >= done_max:
                self.turn.wake_later(self)
                break
            consumer = self._consumer_with_credit()
            if consumer is None:
                break
            message = backlog.take_first(consumer.no_ack)
            if message is None:
                # It is paged out, or what is ready belongs to groups whose turn has not come.
                if backlog.first_is_paged():
                    self._want_pages()
                break
            done += 1 + (len(message.body) >> BODY_SIZE_AS_MESSAGE_BITS)
            self._hand_over(consumer, message, backlog.taken_position, backlog.taken_redelivered)
        self.turn.hand_over_left -= done
        return 0

    def _sort(self, backlog: Backlog) -> bool:
        """Put messages to their places, after a change of settings. Returns whether all are there."""
        self.turn.hand_over_left -= backlog.sort_some(self.turn.share())
        if not backlog.is_sorted():
            self.turn.wake_later(self)
            return False
        self._drop_overflow()
        return True

    def _want_pages(self) -> int:
        """Have the next messages paged in; ``on_paged_in`` goes on then."""
        if not self._pages_wanted:
            self._pages_wanted = True
            self.host.want_pages(self)
        return 0

    def _read_ahead(self) -> int:
        """Have messages paged in before it is their turn, while others are being consumed."""
        if not self._pages_wanted and self._ready.wants_pages(READ_AHEAD_COUNT_MIN):
            self._want_pages()
        return 0

    def on_paged_in(self) -> int:
        """Go on with what had to wait until messages were paged in."""
        self._pages_wanted = False
        if not self.deleted:
            # Consumers come first: what they still take is not too much.
            self.wake()
            if not self._pages_wanted:
                self._drop_overflow()
            self.ask_for_timer()
        return 0

    def waits_for_pages(self) -> bool:
        """Return whether the first message has to be paged in before it can be taken."""
        if self._backlog is None:
            return self._ready.first_is_paged()
        return cython.cast(Backlog, self._backlog).first_is_paged()

    def _consumer_with_credit(self) -> Consumer | None:
        """Return the next consumer in turn that can take a message; without one the queue is starved."""
        consumer = self._consumers.next_with_credit()
        if consumer is None:
            self._starved = True
        return consumer

    def _hand_over(
        self, consumer: Consumer, message: Message, position: cython.ulonglong, redelivered: cython.bint
    ) -> int:
        if not consumer.no_ack:
            self.unacked_count += 1
            consumer.unacked_count += 1
            if self.log is not None:
                self.log.mark_delivered(message, position)
            return consumer.target.deliver(consumer, message, position, redelivered)
        if self.log is not None:
            self.log.acknowledge(message, position)
        consumer.target.deliver(consumer, message, position, redelivered)
        # Only now: the delivery tells how often the message has come back.
        if self._backlog is not None:
            self.returns.forget(position)
        return 0

    def take(self, no_ack: cython.bint) -> Message | None:
        """Take the first message for basic.get, or None; ``taken_position`` and ``taken_redelivered`` say the rest.

        None may also mean that the queue ``waits_for_pages``.
        """
        backlog: Backlog
        self._unused_since_ms = now_ms()
        if self._backlog is None:
            message = self._ready.take_first()
            if message is None:
                return None
            self._ready_bytes -= len(message.body)
            self.taken_position = self._ready.taken_position
            self.taken_redelivered = self._ready.taken_redelivered
        else:
            backlog = self._backlog
            if backlog.expiries.length():
                self._expire(self._unused_since_ms, DUE_COUNT_MAX)
            message = backlog.take_first(no_ack)
            if message is None:
                return None
            self.taken_position = backlog.taken_position
            self.taken_redelivered = backlog.taken_redelivered
        self._taken_return_count = 0
        if no_ack:
            if self.log is not None:
                self.log.acknowledge(message, self.taken_position)
            self._taken_return_count = self.returns.forget(self.taken_position)
        else:
            self.unacked_count += 1
            if self.log is not None:
                self.log.mark_delivered(message, self.taken_position)
        return message

    # Settling

    def settle(self, message: Message, position: cython.ulonglong) -> int:
        """Forget an unacknowledged message: it was acknowledged."""
        self.unacked_count -= 1
        if self._backlog is not None:
            self._backlog.settled(message, position)
            self.returns.forget(position)
        if self.log is not None:
            self.log.acknowledge(message, position)
        return 0

    def finish(self, message: Message, position: int) -> None:
        """Do as ``settle``, for a consumer inside of the broker."""
        for consumer in self.consumers:
            consumer.unacked_count -= 1
        self.settle(message, position)

    def reject(self, message: Message, position: cython.ulonglong) -> int:
        """Let go of an unacknowledged message that was rejected for good."""
        self.unacked_count -= 1
        if self._backlog is not None:
            self._backlog.settled(message, position)
        return self.discard(message, position, REJECTED)

    def requeue(self, message: Message, position: cython.ulonglong) -> int:
        """Put an unacknowledged message back to where it was. The caller wakes the queue when it has put back all."""
        self.unacked_count -= 1
        if self.deleted:
            if self.log is not None:
                self.log.acknowledge(message, position)
            return 0
        if self._backlog is not None:
            return self._requeue_managed(message, position)
        self._ready.insert(message, position, True)
        self._ready_bytes += len(message.body)
        return 0

    def _requeue_managed(self, message: Message, position: cython.ulonglong) -> int:
        backlog: Backlog = self._manage()
        settings = self.settings
        delay_ms: cython.ulonglong = 0
        now: cython.ulonglong = now_ms()
        if settings.counts_deliveries:
            count: cython.uint = self.returns.count(position) + 1
            if settings.delivery_limit is not None and count > settings.delivery_limit:
                backlog.settled(message, position)
                return self.discard(message, position, DELIVERY_LIMIT)
            delay_ms = settings.redelivery_delay_after_ms(count)
            not_before_ms: cython.ulonglong = now + delay_ms if delay_ms else 0
            self.returns.note(position, count, not_before_ms)
            if self.log is not None:
                self.log.write_return(message, position, count, not_before_ms)
        if backlog.expiry_of(message) <= now:
            backlog.settled(message, position)
            return self.discard(message, position, EXPIRED)
        if delay_ms:
            backlog.delay(message, position, True, now + delay_ms)
        else:
            backlog.offer(message, position, True)
        # Only now may its group go on: with this message, if it does not have to wait.
        backlog.settled(message, position)
        self._drop_overflow()
        self.ask_for_timer()
        return 0

    def delivery_count(self, position: cython.ulonglong) -> int:
        """Return how often the message at a position has come back, where the queue counts that."""
        count: cython.uint = self.returns.count(position)
        if count == 0 and position == self.taken_position:
            return self._taken_return_count
        return count

    def discard(self, message: Message | PagedMessage, position: cython.ulonglong, reason: str) -> int:
        """Let a message go, to the dead letters if the queue has a dead-letter exchange.

        Only without one it may be paged out.
        """
        self.returns.forget(position)
        if isinstance(message, PagedMessage):
            self.forget_unread(message, position)
        elif self.settings.dead_letter_exchange is not None and not self.deleted:
            self.host.dead_letter(self, message, position, reason)
        elif self.log is not None:
            self.log.acknowledge(message, position)
        return 0

    # Time

    def ask_for_timer(self) -> None:
        """Have ``on_due`` called when something is due next."""
        due: cython.ulonglong = self._next_due_ms()
        if due and (self.timer_due_ms == 0 or due < self.timer_due_ms) and not self.deleted:
            self.host.want_timer(self, due)

    def _next_due_ms(self) -> int:
        due: cython.ulonglong = 0
        if self._backlog is not None and not self._pages_wanted:
            # Otherwise what is due may have to be read first; ``on_paged_in`` asks again.
            due = self._backlog.next_due_ms()
        expires_ms = self.settings.expires_ms
        if expires_ms is not None and not self.consumers:
            end: cython.ulonglong = self._unused_since_ms + expires_ms
            if due == 0 or end < due:
                due = end
        return due

    def on_due(self, now: int) -> None:
        """Do what is due: let messages expire, let others arrive, or expire as a whole (``x-expires``)."""
        if self.deleted:
            return
        expires_ms = self.settings.expires_ms
        if expires_ms is not None and not self.consumers and self._unused_since_ms + expires_ms <= now:
            self.host.expire_queue(self)
            return
        if self._backlog is not None:
            backlog: Backlog = self._backlog
            # What expires in the same moment in which it arrives may still go to a consumer.
            self._expire(now - 1, DUE_COUNT_MAX)
            count: cython.int = 0
            while count < DUE_COUNT_MAX and backlog.release_arrival(now):
                count += 1
            if count:
                self._deliver_managed()
                self._drop_overflow()
            self._expire(now, DUE_COUNT_MAX)
            if not backlog.count and not len(backlog.waiting) and not self.unacked_count:
                self._backlog = backlog if self.settings.is_managed else None
        self.ask_for_timer()

    def _expire(self, now: cython.ulonglong, count_max: cython.int) -> int:
        backlog: Backlog = self._manage()
        count: cython.int = 0
        unread = self.settings.dead_letter_exchange is None
        while count < count_max:
            message = backlog.take_expired(now, unread)
            if message is None:
                if backlog.expiries.length() and backlog.expiries.first_due_ms() <= now and not self._pages_wanted:
                    self._pages_wanted = True
                    self.host.want_pages(self, backlog.expiries.due_positions(now, DUE_COUNT_MAX))
                break
            self.discard(message, backlog.taken_position, EXPIRED)
            count += 1
        return 0

    def touch(self) -> None:
        """Take notice that the queue is used: it was declared again (``x-expires``)."""
        self._unused_since_ms = now_ms()
        self.ask_for_timer()

    # Recovery and administration

    def restore(
        self, message: Message, position: int, redelivered: bool, return_count: int = 0, not_before_ms: int = 0
    ) -> None:
        """Take in a message that recovery found in the journal. They come in the order of their positions."""
        backlog: Backlog
        if position >= self._next_position:
            self._next_position = position + 1
        if return_count:
            self.returns.note(position, return_count, not_before_ms)
        if self._backlog is None and not message.traits & TRAIT_EXPIRES and not_before_ms <= now_ms():
            self._ready.insert(message, position, redelivered)
            self._ready_bytes += len(message.body)
            return
        backlog = self._manage()
        if backlog.delayed:
            not_before_ms = max(not_before_ms, backlog.delay_of(message))
        if not_before_ms > now_ms():
            backlog.delay(message, position, redelivered, not_before_ms)
        else:
            backlog.offer(message, position, redelivered)

    def peek_next_position(self) -> int:
        """Return the position that the next message will get."""
        return self._next_position

    def skip_positions(self, next_position: int) -> None:
        """Never give out a position below ``next_position`` (recovery: they have been used)."""
        if next_position > self._next_position:
            self._next_position = next_position

    # Consumers

    def add_consumer(self, consumer: Consumer) -> None:
        """Add a consumer. The caller wakes the queue."""
        self._consumers.add(consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """Remove a consumer; what it has not acknowledged stays with its channel."""
        if self._consumers.remove(consumer):
            self.turn.wake_later(self)
        if not self.consumers:
            self._unused_since_ms = now_ms()
            self.ask_for_timer()
