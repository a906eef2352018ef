"""A channel: what is published on it, delivered over it, and acknowledged."""

from collections.abc import Callable
from functools import partial
from typing import Any

import cython

from broker.dead_lettering.deaths import routing_keys_of
from broker.hooks import event_properties
from broker.publishing import publish_to_queues
from broker.queueing.consumer import Consumer
from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.routing.address import decode_address
from broker.routing.gate import ASKS
from broker.routing.route import Route
from broker.session.confirms import Confirms
from broker.session.content import ContentReceiver
from broker.session.delivery_header import as_delivered, as_returned
from broker.session.late_get import get_later
from broker.session.outlet import ASKING_WORK, ROUTE_WORK
from broker.session.publish_checks import accept_properties
from broker.session.reading import PausingReader
from broker.session.replies import OrderedReplies, PendingReply
from broker.session.route_finder import RouteFinder
from broker.session.settling import SETTLED_AT_ONCE_MAX, ChannelSettling, settle_in_slices
from broker.session.unacked import ACKNOWLEDGE, REQUEUE, UnackedDeliveries
from protocol.amqp import codec
from protocol.amqp.errors import not_implemented, precondition_failed, syntax_error
from protocol.amqp.header_fields import TRAIT_ROUTED
from protocol.amqp.methods import BasicCancel, BasicGetEmpty, BasicGetOk, BasicReturn, Method
from protocol.amqp.reader import FrameReader

if not cython.compiled:
    from broker.clock import now_ms
    from broker.queueing.message import new_message
    from broker.session.content import EXPECT_METHOD
    from broker.session.plain_header import accept_plain

PUBLISH_MANDATORY = 1
PUBLISH_IMMEDIATE = 2

NACK_REQUEUE = 2

GIVEN_BACK_MAX = 1024

# An acknowledgement of many costs as much of a turn as a quarter as many messages to one of several queues.
SETTLED_FOR_WORK_BITS = 2


class Channel(ContentReceiver):
    """One channel of a connection.

    Until channel.open it is not ``is_open``. When the broker has closed it for an error it is ``close_sent``, and
    ignores everything until the client has answered.
    """

    def __init__(self, connection: PausingReader, number: int, vhost: Any, max_message_size_bytes: int) -> None:
        super().__init__(max_message_size_bytes)
        self.connection = connection
        self.number = number
        self.vhost = vhost
        self.consumers: dict[str, Consumer] = {}
        self.unacked = UnackedDeliveries()
        self.settling: ChannelSettling | None = None
        self.is_open = False
        self.accepts_deliveries = False
        self.close_sent = False
        self.prefetch_count = 0
        self.global_prefetch_count = 0
        self.consumed_unacked_count = 0
        self.confirms: Confirms | None = None
        self.transaction: Any = None
        self.last_queue_name: str | None = None
        self.set_reply_queue(None)
        self._counters = connection.counters
        self._routes = vhost.routes
        self._finder = RouteFinder(vhost.routes)
        self._taps = vhost.taps
        self._journal = vhost.journal
        self._delivery_tag = 0
        # Of deliveries that were late and are in their queues again; the client may still settle them.
        self._given_back: dict[int, None] = {}
        self._replies = OrderedReplies(self._replies_changed, connection.count_waiting)
        self._confirms_owed = False
        self._waits_for_journal = False
        self._route: Route | None = None
        self._header = b""
        self._header_delivery_mode = 0
        self._header_traits = 0

    # Receiving content

    def receive_content(self, reader: FrameReader) -> int:
        """Take a basic.publish that came with all of its content."""
        if self._content_state != EXPECT_METHOD:
            self.check_no_content()
        if reader.payload_size > self.max_message_size_bytes:
            raise self.too_large(reader.payload_size)
        route = self._route
        if route is None or route.stale or not reader.same_address(route.address):
            self._route = self._finder.find_read(self, reader)
        if not reader.same_header(self._header_received):
            self._learn_header(reader.header_octets())
        return self._publish(reader.flags, reader.payload_octets())

    def take_content(self, address: bytes, flags: cython.uint, header: bytes, body: bytes) -> int:
        """Take a basic.publish whose content came in several frames."""
        self._route = self._finder.find(self, address)
        self._learn_header(header)
        return self._publish(flags, body)

    # Publishing

    def find_route(self, address: bytes) -> Route:
        """Return where a message goes that is not the one that the client has published, if it may go there."""
        return self._finder.find(self, address)

    def _learn_header(self, header: bytes) -> int:
        mode: cython.int = 0
        traits: cython.uint = 0
        accepted: Any = accept_plain(self, header, self._reply_name, cython.address(mode), cython.address(traits))
        if mode < 0:
            raise syntax_error("malformed content header", 60, 40)
        self._header_received = b""
        if accepted is None:
            accepted, traits = self.accept_header(header)
        self._header, self._header_received = accepted, header
        self._header_delivery_mode, self._header_traits = mode, traits
        return 0

    def accept_header(self, header: bytes) -> tuple[bytes, int]:
        """Return the header that a message is to have, and its traits; raises if it may not be published so."""
        return accept_properties(self, header)

    def set_reply_queue(self, queue: Queue | None) -> None:
        """Take over, or give up, the queue of the reply consumer (direct reply-to)."""
        self.reply_queue = queue
        self._reply_name = None if queue is None else queue.name.encode()
        self._header_received = b""  # One that was accepted says where replies go.

    def _publish(self, flags: cython.uint, body: bytes) -> int:
        if flags & PUBLISH_IMMEDIATE:
            raise not_implemented("immediate=true", 60, 40)
        route: Any = self._route
        message = new_message(route.address, self._header, body, self._header_delivery_mode == 2, self._header_traits)
        if self._taps.publishing is not None:
            self._taps.publishing.publish(self, route, message, flags)
            return 0
        if self.transaction is not None:
            self.transaction.publish(route, message, flags)
            return 0
        if route.stale or route.dynamic or message.traits:
            route = self.final_route(route, message)
        return self.put_message(route, message, flags)

    def final_route(self, route: Route, message: Message) -> Route:
        """Return where one message goes now; raises where it cannot be routed."""
        if route.stale:
            route = self._routes.resolve(message.address)
        if message.traits & TRAIT_ROUTED:
            route = self.vhost.route_by_message(route, message, tuple(routing_keys_of(message)[1:]))
        elif route.dynamic:
            route = self.vhost.route_by_message(route, message)
            self.connection.work_left -= ROUTE_WORK
        return route

    def put_message(self, route: Route, message: Message, flags: cython.uint) -> int:
        """Put a message into the queues of its final route; return it to the client if there are none."""
        if route.gate or message.traits:
            if route.gate == ASKS or message.traits:
                return self._put_managed(route, message, flags)
            message.published_at_ms = now_ms()
        queues: Any = route.queues
        count: cython.Py_ssize_t = len(queues)
        batch: cython.ulonglong = 0
        position: cython.ulonglong
        queue: Queue
        self._counters.messages_received += 1
        if count == 1:
            queue = queues[0]
            position = queue.next_position()
            if message.persistent and queue.log is not None:
                batch = self._journal.publish_to_one(message, queue.log, position)
            queue.enqueue(message, position, False)
            self._counters.messages_routed += 1
        elif count:
            self.connection.work_left -= count
            index: cython.Py_ssize_t
            if message.persistent and route.durable_queues:
                positions = [cython.cast(Queue, queue).next_position() for queue in queues]
                logs = [cython.cast(Queue, queue).log for queue in queues]
                batch = self._journal.publish_to_many(message, logs, positions)
                for index in range(count):
                    queue = queues[index]
                    queue.enqueue(message, positions[index], False)
            else:
                for index in range(count):
                    queue = queues[index]
                    queue.enqueue(message, queue.next_position(), False)
            self._counters.messages_routed += count
        else:
            self._count_unroutable(route, message, flags)
        if self.confirms is not None:
            self._count_published(batch)
        return 0

    def _put_managed(self, route: Route, message: Message, flags: cython.uint) -> int:
        """Do as ``put_message`` for a message, an exchange or a queue that asks for more."""
        self._counters.messages_received += 1
        rejected = False
        batch: cython.ulonglong = 0
        if route.exchange.deduplicator is not None and route.exchange.deduplicator.is_duplicate(message, now_ms()):
            self._counters.messages_deduplicated += 1
            # The one that was taken may still be on its way to the disk.
            batch = self._journal.journal.pending_batch
        elif route.queues:
            self.connection.work_left -= ASKING_WORK * len(route.queues)
            published = publish_to_queues(self.vhost, route.queues, message, route.exchange.deduplicator)
            batch = published.batch
            rejected = published.rejected
        else:
            self._count_unroutable(route, message, flags)
        if rejected and self.transaction is not None:
            self.transaction.was_rejected = True
        if self.confirms is not None:
            if rejected:
                self._counters.messages_received_confirm += 1
                self.confirms.reject()
                self._owe_confirms()
            else:
                self._count_published(batch)
        return 0

    def drop(self) -> None:
        """Take a publish that is to go nowhere as if it had been published."""
        self._counters.messages_received += 1
        if self.confirms is not None:
            self._count_published(0)

    def _count_unroutable(self, route: Route, message: Message, flags: cython.uint) -> None:
        if flags & PUBLISH_MANDATORY:
            self._counters.messages_unroutable_returned += 1
            # A large transaction goes on when its channel has been closed meanwhile.
            if self.is_open:
                self._return_message(route, message)
        else:
            self._counters.messages_unroutable_dropped += 1

    def _return_message(self, route: Route, message: Message) -> None:
        returned = BasicReturn(
            reply_code=312, reply_text="NO_ROUTE", exchange=route.exchange.name, routing_key=route.routing_key
        )
        self.send_content(returned, as_returned(message))

    # Confirms

    def _count_published(self, batch: cython.ulonglong) -> int:
        self._counters.messages_received_confirm += 1
        confirms: Any = self.confirms
        if confirms.publish(batch):
            self._owe_confirms()
        elif not self._waits_for_journal:
            self._wait_for_journal()
        return 0

    def _owe_confirms(self) -> None:
        if not self._confirms_owed:
            self._confirms_owed = True
            self.connection.owes_confirms(self)

    def _wait_for_journal(self) -> None:
        if not self._waits_for_journal:
            self._waits_for_journal = True
            self.vhost.wait_for_journal(self)

    def write_confirms(self) -> None:
        """Write the confirms that are due (called at the end of the turn)."""
        self._confirms_owed = False
        confirms = self.confirms
        if not self.is_open or confirms is None or confirms.due == confirms.confirmed:
            return
        self._counters.messages_confirmed += confirms.due - confirms.confirmed
        for rejected in confirms.take_rejected():
            # A basic.ack must not cover it, so what comes before is acknowledged first.
            if rejected > confirms.confirmed + 1:
                self._acknowledge(80, *confirms.mark_confirmed(rejected - 1))
            delivery_tag, multiple = confirms.mark_confirmed(rejected)
            # The bit "requeue" has no meaning for publishers; RabbitMQ sends its default.
            self._acknowledge(120, delivery_tag, multiple | NACK_REQUEUE)
            self._counters.messages_confirmed -= 1
        if confirms.due > confirms.confirmed:
            self._acknowledge(80, *confirms.mark_confirmed(confirms.due))

    def _acknowledge(self, method_id: int, delivery_tag: int, flags: int) -> None:
        self.connection.output.put_acknowledgement(self.number, method_id, delivery_tag, flags)
        self.connection.written()

    def journal_durable(self, batch: int) -> bool:
        """Take in that the journal is on disk up to ``batch``. Returns whether the channel still waits for more."""
        if not self.is_open:
            self._waits_for_journal = False
            return False
        self._replies.send_due(batch)
        if self.confirms is not None and self.confirms.durable(batch):
            self._owe_confirms()
        self._waits_for_journal = self._replies.waits_for_journal() or (
            self.confirms is not None and self.confirms.waits()
        )
        return self._waits_for_journal

    # Sending

    def reply(self, method: Method, batch: cython.ulonglong = 0) -> None:
        """Send a method, once the journal is on disk up to ``batch``; replies keep their order."""
        if self._replies or (batch and batch > self.vhost.durable_batch):
            self.reply_later().resolve(partial(self.send_method, method), batch)
        else:
            self.send_method(method)

    def reply_later(self) -> PendingReply:
        """Return the place of a reply that cannot be given yet; those that come after it wait for it."""
        return self._replies.pending()

    def _replies_changed(self) -> None:
        if self.is_open:
            self._replies.send_due(self.vhost.durable_batch)
            if self._replies.waits_for_journal():
                self._wait_for_journal()

    def send_method(self, method: Method) -> bool:
        """Send a method now, whatever waits. Returns True."""
        self.connection.output.put_method(self.number, codec.encode_method(method))
        self.connection.written()
        return True

    def send_content(self, method: Method, message: Message) -> None:
        """Send a method that carries a message."""
        connection = self.connection
        connection.output.put_content(
            self.number, codec.encode_method(method), message.header, message.body, connection.frame_max
        )
        connection.written()

    def consumer_cancelled(self, consumer: Consumer) -> None:
        """Tell the client that its queue has gone, if it can be told (consumer cancel notification)."""
        self.consumers.pop(consumer.tag, None)
        if self.connection.tells_cancellations():
            self.reply(BasicCancel(consumer_tag=consumer.tag, nowait=True))

    def cancel_late(self, consumer: Consumer, delivery_tags: list[int]) -> None:
        """Cancel a consumer that has taken too long, and put what is late back into its queue."""
        if self.consumers.get(consumer.tag) is consumer:
            self.vhost.remove_consumer(consumer)
            self.consumer_cancelled(consumer)
        for delivery_tag in delivery_tags:
            self._settle_one(delivery_tag, REQUEUE)
            self._given_back[delivery_tag] = None
        while len(self._given_back) > GIVEN_BACK_MAX:
            # The oldest come first.
            del self._given_back[next(iter(self._given_back))]
        if not consumer.queue.deleted:
            consumer.queue.wake()

    # Delivering

    def has_credit(self, no_ack: cython.bint) -> bool:
        """Return whether a consumer of this channel may get a message now."""
        if self.connection.congested or not self.accepts_deliveries:
            return False
        return no_ack or self.global_prefetch_count == 0 or self.consumed_unacked_count < self.global_prefetch_count

    def deliver(
        self, consumer: Consumer, message: Message, position: cython.ulonglong, redelivered: cython.bint
    ) -> int:
        """Send a message to a consumer."""
        self._delivery_tag += 1
        delivery_tag: cython.ulonglong = self._delivery_tag
        connection = self.connection
        if consumer.no_ack:
            self._counters.messages_delivered_consume_auto_ack += 1
        else:
            self._counters.messages_delivered_consume_manual_ack += 1
            self.consumed_unacked_count += 1
            self.unacked.append(delivery_tag, message, position, consumer.queue, consumer, connection.turn.tick)
        if redelivered or message.traits or self._taps.delivering is not None:
            return self._deliver_shown(consumer, message, position, delivery_tag, redelivered)
        connection.output.put_deliver(
            self.number,
            consumer.wire_tag,
            delivery_tag,
            False,
            message.address,
            message.header,
            message.body,
            connection.frame_max,
        )
        return connection.written()

    def _deliver_shown(
        self,
        consumer: Consumer,
        message: Message,
        position: cython.ulonglong,
        delivery_tag: cython.ulonglong,
        redelivered: cython.bint,
    ) -> int:
        """Send a message that is not shown as it is: something is hidden, or added, or taps want to see it."""
        taps: Any = self._taps.delivering
        queue = consumer.queue
        if redelivered:
            self._counters.messages_redelivered += 1
        shown: Message | None = as_delivered(queue, message, position)
        if taps is not None:
            shown = taps.shown(self, queue, consumer, shown, redelivered)
        if shown is not None:
            connection = self.connection
            connection.output.put_deliver(
                self.number,
                consumer.wire_tag,
                delivery_tag,
                redelivered,
                shown.address,
                shown.header,
                shown.body,
                connection.frame_max,
            )
            connection.written()
            if taps is not None:
                taps.delivered(self, queue, message, redelivered)
        return 0

    def get(self, queue: Queue, no_ack: bool) -> None:
        """Send the first message of a queue (basic.get)."""
        if self._replies or queue.waits_for_pages():
            get_later(self, self.reply_later(), queue, no_ack=no_ack)
        else:
            self.get_now(queue, no_ack)

    def get_now(self, queue: Queue, no_ack: bool) -> None:
        """Send the first message of a queue that does not have to be read first."""
        message = queue.take(no_ack)
        if message is None:
            self._counters.messages_get_empty += 1
            self.send_method(BasicGetEmpty())
            return
        self._delivery_tag += 1
        if no_ack:
            self._counters.messages_delivered_get_auto_ack += 1
        else:
            self._counters.messages_delivered_get_manual_ack += 1
            self.unacked.append(
                self._delivery_tag, message, queue.taken_position, queue, None, self.connection.turn.tick
            )
        if queue.taken_redelivered:
            self._counters.messages_redelivered += 1
        exchange, routing_key = decode_address(message.address)
        redelivered = queue.taken_redelivered
        shown: Any = as_delivered(queue, message, queue.taken_position)
        taps: Any = self._taps.delivering
        if taps is not None:
            shown = taps.shown(self, queue, None, shown, redelivered)
            if shown is None:
                return
        self.send_content(
            BasicGetOk(
                delivery_tag=self._delivery_tag,
                redelivered=redelivered,
                exchange=exchange,
                routing_key=routing_key,
                message_count=queue.ready_count(),
            ),
            shown,
        )
        if taps is not None:
            taps.delivered(self, queue, message, redelivered)

    def wake_consumers(self) -> None:
        """Let the queues of this channel's consumers go on, because credit has come."""
        for consumer in list(self.consumers.values()):
            consumer.queue.wake()

    # Settling

    def settle(
        self, delivery_tag: cython.ulonglong, multiple: cython.bint, how: cython.int, method_id: cython.uint
    ) -> int:
        """Settle deliveries: acknowledge, reject for good, or requeue.

        ``method_id`` is that of the basic method that says so. Raises ``ChannelException`` for an unknown tag.
        """
        unacked = self.unacked
        queue: Queue
        previous: Queue | None = None
        if delivery_tag == 0 and multiple:
            delivery_tag = unacked.last_tag()
        elif not unacked.contains(delivery_tag):
            if delivery_tag not in self._given_back:
                raise precondition_failed(f"unknown delivery tag {delivery_tag}", 60, method_id)
            # It was late and is in its queue again; a multiple acknowledgement means those before it all the same.
            del self._given_back[delivery_tag]
            if not multiple:
                return 0
        if self.transaction is not None:
            if not multiple:
                self.transaction.settle(delivery_tag, how)
            else:
                settle_in_slices(self, delivery_tag, how, transaction=self.transaction)
            return 0
        if not multiple:
            self._settle_one(delivery_tag, how).wake()
        elif unacked.reaches(delivery_tag, SETTLED_AT_ONCE_MAX):
            settle_in_slices(self, delivery_tag, how, None, self._consumed_queues())
        else:
            count: cython.int = 0
            while unacked.count and unacked.first_tag() <= delivery_tag:
                queue = self._settle_one(unacked.first_tag(), how)
                count += 1
                if previous is not None and queue is not previous:
                    previous.wake()
                previous = queue
            if previous is not None:
                previous.wake()
            self.connection.work_left -= count >> SETTLED_FOR_WORK_BITS if how == ACKNOWLEDGE else count
        if self.global_prefetch_count:
            self.wake_consumers()
        return 0

    def _settle_one(self, delivery_tag: cython.ulonglong, how: cython.int) -> Queue:
        unacked = self.unacked
        message = unacked.take(delivery_tag)
        return self.settle_taken(message, unacked.position, unacked.queue, unacked.consumer, how)

    def settle_taken(
        self, message: Message, position: cython.ulonglong, queue: Queue, consumer: Consumer | None, how: cython.int
    ) -> Queue:
        """Settle a delivery that was taken out of ``unacked``. The caller wakes the queue."""
        if consumer is not None:
            consumer.unacked_count -= 1
            self.consumed_unacked_count -= 1
        if how == REQUEUE:
            queue.requeue(message, position)
        elif how == ACKNOWLEDGE:
            self._counters.messages_acknowledged += 1
            queue.settle(message, position)
        else:
            queue.reject(message, position)
        return queue

    def requeue_all(self, finished: Callable[[], Any] | None = None) -> None:
        """Put everything that is unacknowledged back into its queues, and then call ``finished``."""
        settle_in_slices(self, self.unacked.last_tag(), REQUEUE, finished, self._consumed_queues())

    def _consumed_queues(self) -> list[Queue]:
        return [consumer.queue for consumer in self.consumers.values()]

    # Beginning and end

    def open(self) -> None:
        """Become usable (channel.open)."""
        self.is_open = self.accepts_deliveries = True
        self._counters.channels_opened += 1
        self.vhost.channels.add(self)
        self.vhost.events.tell("channel.created", event_properties.channel_created, self)

    def end(self, finished: Callable[[], Any] | None = None) -> None:
        """Give everything back: consumers go, what is unacknowledged is requeued; then ``finished`` is called.

        The caller forgets the channel.
        """
        if not self.is_open:
            self._replies.close()
            settle_in_slices(self, 0, REQUEUE, finished)
            return
        self.is_open = self.accepts_deliveries = False
        self._counters.channels_closed += 1
        self.vhost.events.tell("channel.closed", event_properties.channel_closed, self)
        self.drop_content()
        if self.transaction is not None:
            self.transaction.rollback()
            self.transaction = None
        consumers = list(self.consumers.values())
        self.consumers.clear()
        for consumer in consumers:
            self.vhost.remove_consumer(consumer)
        self._replies.close()

        def ended() -> None:
            self.vhost.channels.discard(self)
            self.unacked.forget_taken()
            if finished is not None:
                finished()

        queues = [consumer.queue for consumer in consumers]
        settle_in_slices(self, self.unacked.last_tag(), REQUEUE, ended, queues)
