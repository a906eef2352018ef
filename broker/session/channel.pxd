cimport cython

from broker.clock cimport now_ms
from broker.hooks.taps cimport Taps
from broker.metrics.counters cimport Counters
from broker.queueing.consumer cimport Consumer
from broker.queueing.message cimport Message, new_message
from broker.queueing.queue cimport Queue
from broker.routing.route cimport Route, RouteCache
from broker.durability.queue_log cimport VirtualHostJournal
from broker.session.confirms cimport Confirms
from broker.session.content cimport EXPECT_METHOD, ContentReceiver
from broker.session.plain_header cimport accept_plain
from broker.session.reading cimport PausingReader
from broker.session.replies cimport OrderedReplies
from broker.session.route_finder cimport RouteFinder
from broker.session.unacked cimport UnackedDeliveries
from protocol.amqp cimport codec
from protocol.amqp.reader cimport FrameReader


cdef int ACKNOWLEDGE
cdef int REQUEUE

cdef unsigned int PUBLISH_MANDATORY
cdef unsigned int PUBLISH_IMMEDIATE

cdef unsigned int TRAIT_ROUTED

cdef int ASKS

cdef int ASKING_WORK
cdef int ROUTE_WORK

cdef int SETTLED_FOR_WORK_BITS
cdef Py_ssize_t SETTLED_AT_ONCE_MAX


@cython.final
cdef class Channel(ContentReceiver):
    cdef readonly PausingReader connection
    cdef readonly unsigned int number
    cdef readonly object vhost
    cdef readonly dict consumers
    cdef readonly UnackedDeliveries unacked
    cdef public object settling      # ChannelSettling, while there is something to be done in slices
    cdef public bint is_open
    # As is_open, but a channel that is about to be closed gets nothing more.
    cdef public bint accepts_deliveries
    cdef public bint close_sent
    cdef public unsigned int prefetch_count
    cdef public unsigned int global_prefetch_count
    cdef public unsigned int consumed_unacked_count
    cdef public Confirms confirms
    cdef public object transaction
    cdef public str last_queue_name
    cdef readonly Queue reply_queue       # of direct reply-to
    cdef Counters _counters
    cdef RouteCache _routes
    cdef RouteFinder _finder
    cdef Taps _taps
    cdef VirtualHostJournal _journal
    cdef unsigned long long _delivery_tag
    cdef dict _given_back
    cdef OrderedReplies _replies
    cdef bint _confirms_owed
    cdef bint _waits_for_journal
    # The exchange and routing key, and the content header, that were published last: most publishers repeat them.
    cdef Route _route
    cdef bytes _header
    cdef bytes _header_received      # as the publisher sent it
    cdef int _header_delivery_mode
    cdef unsigned int _header_traits
    cdef bytes _reply_name           # of direct reply-to, as it is shown to those who reply

    cpdef object reply(self, object method, unsigned long long batch=*)
    cpdef bint send_method(self, object method) except -1
    cpdef object send_content(self, object method, Message message)
    cdef int receive_content(self, FrameReader reader) except -1
    cpdef Route find_route(self, bytes address)
    cdef int _learn_header(self, bytes header) except -1
    cdef int _publish(self, unsigned int flags, bytes body) except -1
    cpdef Route final_route(self, Route route, Message message)
    cpdef int put_message(self, Route route, Message message, unsigned int flags) except -1
    cdef int _put_managed(self, Route route, Message message, unsigned int flags) except -1
    cdef int _count_published(self, unsigned long long batch) except -1
    cdef int settle(
        self, unsigned long long delivery_tag, bint multiple, int how, unsigned int method_id
    ) except -1
    cdef Queue _settle_one(self, unsigned long long delivery_tag, int how)
    cpdef Queue settle_taken(
        self, Message message, unsigned long long position, Queue queue, Consumer consumer, int how
    )
    cdef int _deliver_shown(
        self,
        Consumer consumer,
        Message message,
        unsigned long long position,
        unsigned long long delivery_tag,
        bint redelivered,
    ) except -1
