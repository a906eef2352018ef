from broker.durability.queue_log cimport VirtualHostJournal
from broker.queueing.contents cimport QueueContents
from broker.queueing.ready cimport ReadyMessages
from storage.fetcher cimport Fetch


cdef list take_in_for(
    Fetch fetch, unsigned int number, QueueContents contents, ReadyMessages messages, VirtualHostJournal journal
)
