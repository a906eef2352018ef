"""What the threads without the interpreter do with a disk, behind a seam narrow enough to fake one."""

import os

from libc.errno cimport EINTR, EIO, errno
from libc.string cimport memcpy
from posix.fcntl cimport O_CLOEXEC, O_RDONLY, open
from posix.types cimport off_t
from posix.unistd cimport close, fdatasync


cdef extern from "<unistd.h>" nogil:
    ssize_t pwrite(int, const void *, size_t, off_t)
    ssize_t pread(int, void *, size_t, off_t)


cdef class Disk:
    """The real disk. All operations run without the interpreter; those that write return 0 or an errno."""

    cdef int write(self, int descriptor, const unsigned char *data, size_t size, long long offset) noexcept nogil:
        cdef ssize_t written
        while size > 0:
            written = pwrite(descriptor, data, size, offset)
            if written < 0:
                if errno == EINTR:
                    continue
                return errno
            if written == 0:
                return EIO
            data += written
            offset += written
            size -= written
        return 0

    cdef int sync(self, int descriptor) noexcept nogil:
        # A failed sync is never tried again, not even after an interruption: what was dirty may be clean by now.
        return errno if fdatasync(descriptor) != 0 else 0

    cdef int open_for_reading(self, const char *path, int *error) noexcept nogil:
        """Return a descriptor, or -1 with ``error`` set."""
        cdef int descriptor = open(path, O_RDONLY | O_CLOEXEC)
        error[0] = errno if descriptor < 0 else 0
        return descriptor

    cdef Py_ssize_t read(
        self, int descriptor, unsigned char *data, size_t size, long long offset, int *error
    ) noexcept nogil:
        """Return how many bytes were read, fewer than ``size`` at the end of the file; -1 with ``error`` set."""
        cdef size_t done = 0
        cdef ssize_t count
        while done < size:
            count = pread(descriptor, data + done, size - done, offset + <long long>done)
            if count < 0:
                if errno == EINTR:
                    continue
                error[0] = errno
                return -1
            if count == 0:
                break
            done += count
        error[0] = 0
        return done

    cdef void close(self, int descriptor) noexcept nogil:
        close(descriptor)


cdef class PythonDisk(Disk):
    """A disk whose operations are Python methods: a simulated one, or one that fails on purpose.

    ``on_write`` and ``on_sync`` are called on the commit thread, ``on_open``, ``on_read`` and ``on_close`` on the one
    that reads records back. They report an error by raising OSError.
    """

    def on_write(self, int descriptor, bytes data not None, long long offset):
        """Write ``data`` as the real disk does."""
        cdef int error = Disk.write(self, descriptor, data, len(data), offset)
        if error:
            raise OSError(error, "write")

    def on_sync(self, int descriptor):
        """Sync as the real disk does."""
        cdef int error
        with nogil:
            error = Disk.sync(self, descriptor)
        if error:
            raise OSError(error, "sync")

    cdef int write(self, int descriptor, const unsigned char *data, size_t size, long long offset) noexcept nogil:
        with gil:
            try:
                self.on_write(descriptor, data[:size], offset)
            except OSError as failure:
                return failure.errno or EIO
        return 0

    cdef int sync(self, int descriptor) noexcept nogil:
        with gil:
            try:
                self.on_sync(descriptor)
            except OSError as failure:
                return failure.errno or EIO
        return 0

    def on_open(self, path):
        """Open a file for reading as the real disk does."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def on_read(self, int descriptor, size, offset):
        """Read as the real disk does."""
        return os.pread(descriptor, size, offset)

    def on_close(self, int descriptor):
        """Close as the real disk does."""
        os.close(descriptor)

    cdef int open_for_reading(self, const char *path, int *error) noexcept nogil:
        with gil:
            try:
                error[0] = 0
                return self.on_open(os.fsdecode(path))
            except OSError as failure:
                error[0] = failure.errno or EIO
                return -1

    cdef Py_ssize_t read(
        self, int descriptor, unsigned char *data, size_t size, long long offset, int *error
    ) noexcept nogil:
        with gil:
            try:
                octets = self.on_read(descriptor, size, offset)
            except OSError as failure:
                error[0] = failure.errno or EIO
                return -1
            memcpy(data, <const unsigned char *>octets, len(octets))
            error[0] = 0
            return len(octets)

    cdef void close(self, int descriptor) noexcept nogil:
        with gil:
            self.on_close(descriptor)
