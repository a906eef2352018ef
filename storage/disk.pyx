"""The two things the commit thread does with a disk, behind a seam narrow enough to fake one."""

from libc.errno cimport EINTR, EIO, errno
from posix.types cimport off_t
from posix.unistd cimport fdatasync


cdef extern from "<unistd.h>" nogil:
    ssize_t pwrite(int, const void *, size_t, off_t)


cdef class Disk:
    """The real disk. Both operations return 0 or an errno, and run without the interpreter."""

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


cdef class PythonDisk(Disk):
    """A disk whose operations are Python methods: a simulated one, or one that fails on purpose.

    ``on_write`` and ``on_sync`` are called on the commit thread and report an error by raising OSError.
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
