cimport cython

from broker.session.transmit cimport transmit_octets
from protocol.amqp.reader cimport ReadBuffer
from protocol.amqp.writer cimport OutputBuffer

cdef int RECORD_HEADER_SIZE
cdef int SEALED_SIZE_BYTES
cdef int FULL_READS_MAX

cdef int STATE_HANDSHAKE
cdef int STATE_OPEN
cdef int STATE_CLOSED


@cython.final
cdef class TlsTransport:
    cdef readonly str version        # as OpenSSL names it: TLSv1.3
    cdef readonly str cipher
    cdef object _broker
    cdef object _new_connection
    cdef object _connection          # None before the handshake is over
    cdef object _socket              # the event loop's transport; None when it is gone
    cdef ReadBuffer _buffer          # for what comes from the socket
    cdef ReadBuffer _room            # for what comes of it: the connection's own read buffer
    cdef int _descriptor             # of the socket
    cdef int _state
    cdef object _incoming
    cdef object _outgoing
    cdef object _tls
    cdef object _take_in
    cdef object _take_out
    cdef object _seal
    cdef object _open
    cdef object _hand_over
    cdef str _name
    cdef str _reason
    cdef double _deadline
    cdef int _full_reads             # one after the other, without a rest
    # Where the octets from the socket are in a record: how many come before its end, or what is known of its header.
    cdef int _record_left
    cdef int _record_size
    cdef int _header_octets
    # Reasons to read nothing, and whether something is read.
    cdef bint _congested
    cdef bint _paused                # the connection wants nothing
    cdef bint _resting               # others have their turn
    cdef bint _owing                 # TLS has something to say, and the client does not read
    cdef bint _reading

    cdef int send(self, OutputBuffer output) except -1
    cdef bint _shake_hands(self) except -1
    cdef int _count_records(self, Py_ssize_t size) except -1
    cdef bint _unseal(self, int records) except -1
    cdef bint _transmit(self, bytes sealed) except -1
    cdef int _send_sealed(self) except -1
    cdef int _take_leave(self) except -1
    cdef int _fail(self, str reason) except -1
    cdef int _break_off(self, object error) except -1
    cdef int _control_reading(self) except -1
