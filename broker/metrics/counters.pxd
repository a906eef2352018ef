cimport cython


@cython.final
cdef class Counters:
    cdef public unsigned long long connections_opened
    cdef public unsigned long long connections_closed
    cdef public unsigned long long channels_opened
    cdef public unsigned long long channels_closed
    cdef public unsigned long long queues_declared
    cdef public unsigned long long queues_created
    cdef public unsigned long long queues_deleted
    cdef public unsigned long long messages_received
    cdef public unsigned long long messages_received_confirm
    cdef public unsigned long long messages_routed
    cdef public unsigned long long messages_confirmed
    cdef public unsigned long long messages_unroutable_dropped
    cdef public unsigned long long messages_unroutable_returned
    cdef public unsigned long long messages_delivered
    cdef public unsigned long long messages_delivered_consume_auto_ack
    cdef public unsigned long long messages_delivered_consume_manual_ack
    cdef public unsigned long long messages_delivered_get_auto_ack
    cdef public unsigned long long messages_delivered_get_manual_ack
    cdef public unsigned long long messages_get_empty
    cdef public unsigned long long messages_redelivered
    cdef public unsigned long long messages_acknowledged
    cdef public unsigned long long messages_dead_lettered_rejected
    cdef public unsigned long long messages_dead_lettered_expired
    cdef public unsigned long long messages_dead_lettered_maxlen
    cdef public unsigned long long messages_dead_lettered_delivery_limit
    cdef public unsigned long long messages_deduplicated
    cdef public unsigned long long messages_quarantined
    cdef public unsigned long long page_reads_retried
    cdef public unsigned long long tls_handshakes_failed
    cdef public unsigned long long bytes_received
    cdef public unsigned long long bytes_sent
