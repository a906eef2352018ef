"""A line of the log as JSON, and the time in it."""

import time
from json import JSONEncoder
from json.encoder import encode_basestring_ascii
from math import isfinite

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec
from structlog.processors import format_exc_info

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    const unsigned char *PyUnicode_1BYTE_DATA(object text)
    str PyUnicode_FromStringAndSize(const char *octets, Py_ssize_t size)

cdef enum:
    # What there is room for at first; few lines are longer.
    LINE_SIZE_BYTES = 512

# Whatever has no form in JSON is shown as Python shows it.
cdef object _encode = JSONEncoder(default=repr).encode


cdef class Clock:
    cdef long long _second
    cdef str _beginning

    def __cinit__(self):
        self._second = -1

    cpdef str now(self):
        cdef timespec now
        clock_gettime(CLOCK_REALTIME, &now)
        if now.tv_sec != self._second:
            # What precedes the second's fraction is made once a second.
            self._beginning = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now.tv_sec))
            self._second = now.tv_sec
        return f"{self._beginning}.{now.tv_nsec // 1000:06d}Z"


cdef class JsonLines:
    cdef Clock _clock

    def __cinit__(self):
        self._clock = Clock()

    def __call__(self, _logger, str level, dict entry):
        # Of its own, as threads may log at the same time.
        cdef _Line line = _Line()
        entry["level"] = level
        entry["timestamp"] = self._clock.now()
        if "exc_info" in entry:
            format_exc_info(None, level, entry)
        for name, value in entry.items():
            if value is not None:
                line.put_field(name, value)
        line.put(b"}", 1)
        return PyUnicode_FromStringAndSize(<const char *>line.octets, line.size)


cdef class _Line:
    cdef unsigned char *octets
    cdef Py_ssize_t size
    cdef Py_ssize_t room

    def __dealloc__(self):
        PyMem_Free(self.octets)

    cdef int put_field(self, str name, object value) except -1:
        if self.size:
            self.put(b", ", 2)
        else:
            self.put(b"{", 1)
        self.put_text(name)
        self.put(b": ", 2)
        kind = type(value)
        if kind is str:
            self.put_text(value)
        elif kind is int or (kind is float and isfinite(value)):
            self.put_ascii(repr(value))
        else:
            self.put_ascii(_encode(value))
        return 0

    cdef int put_text(self, str text) except -1:
        cdef const unsigned char *octets
        cdef unsigned char octet
        cdef unsigned char *to
        cdef Py_ssize_t size = len(text), at
        if PyUnicode_IS_COMPACT_ASCII(text):
            octets = PyUnicode_1BYTE_DATA(text)
            self.make_room(size + 2)
            to = self.octets + self.size
            to[0] = c'"'
            for at in range(size):
                octet = octets[at]
                if octet < c' ' or octet > c'~' or octet == c'"' or octet == c'\\':
                    break
                to[at + 1] = octet
            else:
                to[size + 1] = c'"'
                self.size += size + 2
                return 0
        # Something has to be escaped, which is seldom.
        return self.put_ascii(encode_basestring_ascii(text))

    cdef int put_ascii(self, str text) except -1:
        return self.put(<const char *>PyUnicode_1BYTE_DATA(text), len(text))

    cdef int put(self, const char *octets, Py_ssize_t size) except -1:
        self.make_room(size)
        memcpy(self.octets + self.size, octets, size)
        self.size += size
        return 0

    cdef int make_room(self, Py_ssize_t size) except -1:
        cdef unsigned char *octets
        cdef Py_ssize_t room
        if self.size + size > self.room:
            room = max(2 * (self.size + size), LINE_SIZE_BYTES)
            octets = <unsigned char *>PyMem_Realloc(self.octets, room)
            if octets is NULL:
                raise MemoryError
            self.octets = octets
            self.room = room
        return 0
