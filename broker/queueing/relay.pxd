cimport cython

from broker.queueing.consumer cimport Consumer, DeliveryTarget
from broker.queueing.message cimport Message


@cython.final
cdef class Relay(DeliveryTarget):
    cdef object _forward
