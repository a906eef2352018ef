from broker.durability.queue_log cimport VirtualHostJournal
from broker.queueing.message cimport Message
from broker.queueing.queue cimport Queue


cpdef unsigned long long place(
    Message message, tuple queues, bint any_durable, VirtualHostJournal journal
) except? 0xFFFFFFFFFFFFFFFF
