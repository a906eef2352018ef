cimport cython

from broker.routing.address_table cimport AddressTable
from broker.routing.route cimport Route, RouteCache
from protocol.amqp.reader cimport FrameReader


cdef int ROUTE_WORK


@cython.final
cdef class RouteFinder:
    cdef RouteCache _routes
    cdef AddressTable _known
    cdef object _last_allowed        # an exchange, as are those in the set
    cdef set _allowed

    cdef Route find_read(self, object channel, FrameReader reader)
    cdef Route find(self, object channel, bytes address)
    cdef int _allow(self, object channel, object exchange) except -1
