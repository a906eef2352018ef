cimport cython

from broker.routing.address_table cimport AddressTable


@cython.final
cdef class Route:
    cdef readonly bytes address
    cdef readonly object exchange
    cdef readonly str routing_key
    cdef readonly tuple queues
    cdef readonly tuple durable_queues
    cdef readonly bint dynamic
    cdef readonly bint stale
    cdef readonly int gate


@cython.final
cdef class RouteCache:
    cdef readonly Py_ssize_t routes_max
    cdef readonly Py_ssize_t destinations_max
    cdef readonly Py_ssize_t addresses_max_bytes
    cdef object _find_exchange
    cdef dict _recent
    cdef readonly AddressTable known     # shortcut to _recent
    cdef dict _older
    cdef dict _by_exchange
    cdef readonly unsigned long long found_count
    cdef Py_ssize_t _recent_destinations
    cdef Py_ssize_t _recent_bytes

    cpdef Route resolve(self, bytes address)
    cpdef forget_queue(self, str name)
    cpdef forget_exchange(self, object exchange)
    cpdef clear(self)
    cdef Route _miss(self, bytes address)
    cdef _make_room(self, Py_ssize_t destinations, Py_ssize_t address_bytes)
    cdef _forget(self, Route route)
    cdef _drop(self, Route route)
