cimport cython

from broker.session.channel cimport Channel
from broker.session.receiving cimport Receiver
from protocol.amqp cimport codec

cdef int FRAME_NONE
cdef int FRAME_METHOD
cdef int FRAME_HEADER
cdef int FRAME_BODY
cdef int FRAME_PUBLISH
cdef int FRAME_CONTENT
cdef int FRAME_ACK
cdef int FRAME_NACK
cdef int FRAME_REJECT
cdef int FRAME_HEARTBEAT

cdef int ACKNOWLEDGE
cdef int REJECT
cdef int REQUEUE

cdef int METHOD_WORK
cdef int WORK_PER_TURN_MAX

cdef int FULL_READS_MAX
cdef int MULTIPLE
cdef int NACK_REQUEUE
cdef int REJECT_REQUEUE

cdef int STATE_PREAMBLE
cdef int STATE_HANDSHAKE
cdef int STATE_RUNNING
cdef int STATE_CLOSING
cdef int STATE_CLOSED


@cython.final
cdef class Connection(Receiver):
    cdef public object vhost
    cdef public object user
    cdef readonly dict channels
    cdef public int state
    cdef public object handshake
    cdef readonly str mechanism
    cdef public dict client_properties
    cdef public unsigned int channel_max
    cdef public unsigned int heartbeat_s
    cdef readonly object peer
    cdef readonly str name
    cdef readonly object opened_at
    cdef bytes _preamble
    cdef str _close_reason
    cdef bint _deaf
    cdef int _full_reads             # one after the other, without a rest
    cdef bint _received_since_tick
    cdef double _received_at
    cdef double _sent_at
    cdef double _deadline
    # The channel of the last frame; most frames are for the same one.
    cdef Channel _channel
    cdef unsigned int _channel_number

    cdef int _process_frames(self) except -1
    cdef int _dispatch(self, int kind) except -1
    cdef int _find_channel(self, unsigned int number) except -1
    cdef object _method(self, Channel channel, object method)
    cdef object _method_on_closed(self, Channel channel, object method)
    cdef object _control_frame(self, int kind)
    cdef object _end_channels(self, object finished=*)
    cpdef object send_method(self, unsigned int channel, object method)
    cpdef object send_payload(self, unsigned int channel, bytes payload)
