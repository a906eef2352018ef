cimport cython


@cython.final
cdef class Node:
    cdef dict children
    cdef Node star
    cdef Node hash
    cdef dict values
    cdef bint repeats
    cdef long long step

    cdef bint is_empty(self)


@cython.final
cdef class TopicTrie:
    cdef Node _root
    cdef long long _step
    cdef readonly long long visited

    cpdef add(self, str binding_key, object value)
    cpdef remove(self, str binding_key, object value)
    cpdef list match(self, str routing_key)
    cdef _reach(self, Node node, list[Node] reached)
    cdef Node _child(self, Node node, str word)
    cdef Node _child_or_new(self, Node node, str word)
    cdef _drop_child(self, Node node, str word)
