# distutils: depends = storage/checksum.h
"""CRC-32C, the checksum of everything the journal writes."""

from libc.stdint cimport uint32_t


cdef extern from "checksum.h" nogil:
    ctypedef uint32_t (*crc32c_function)(uint32_t, const unsigned char *, size_t) noexcept nogil
    void crc32c_fill_tables() noexcept
    int crc32c_has_hardware() noexcept
    uint32_t crc32c_portable(uint32_t, const unsigned char *, size_t) noexcept
    uint32_t crc32c_backwards(uint32_t, const unsigned char *, size_t) noexcept nogil
    uint32_t crc32c_hardware(uint32_t, const unsigned char *, size_t) noexcept


crc32c_fill_tables()

HAS_HARDWARE = bool(crc32c_has_hardware())

cdef crc32c_function fastest = crc32c_hardware if crc32c_has_hardware() else crc32c_portable


cdef uint32_t checksum(uint32_t before, const unsigned char *data, size_t size) noexcept nogil:
    return fastest(before, data, size)


cdef uint32_t checksum_before(uint32_t after, const unsigned char *data, size_t size) noexcept nogil:
    return crc32c_backwards(after, data, size)


def crc32c(const unsigned char[::1] data not None, uint32_t before=0):
    """Return the CRC-32C of ``data``, going on from the checksum of what came ``before``."""
    if data.shape[0] == 0:
        return before
    return fastest(before, &data[0], data.shape[0])


def crc32c_with_tables(const unsigned char[::1] data not None, uint32_t before=0):
    """Return what ``crc32c`` returns, computed as on a processor that has no instruction for it."""
    if data.shape[0] == 0:
        return before
    return crc32c_portable(before, &data[0], data.shape[0])


def crc32c_before(const unsigned char[::1] data not None, uint32_t after):
    """Return the checksum from which ``crc32c`` went on when it returned ``after`` for ``data``."""
    if data.shape[0] == 0:
        return after
    return crc32c_backwards(after, &data[0], data.shape[0])
