"""How much freed memory the process keeps for the next message, instead of giving it back to the system."""

cdef extern from *:
    """
    #include <stdlib.h>
    #ifdef __GLIBC__
    #include <malloc.h>
    static void keep_freed_memory(int kept_bytes, int mapped_min_bytes) {
        mallopt(M_TRIM_THRESHOLD, kept_bytes);
        mallopt(M_MMAP_THRESHOLD, mapped_min_bytes);
    }
    #else
    static void keep_freed_memory(int kept_bytes, int mapped_min_bytes) {
        (void)kept_bytes; (void)mapped_min_bytes;
    }
    #endif
    """
    void keep_freed_memory(int kept_bytes, int mapped_min_bytes) noexcept

# What is freed at the end of the heap is given back from this size on.
KEPT_SIZE_MAX_BYTES = 16 * 1024 * 1024
# Larger objects are mapped, each for itself, and given back at once.
MAPPED_SIZE_MIN_BYTES = 4 * 1024 * 1024


def configure():
    keep_freed_memory(KEPT_SIZE_MAX_BYTES, MAPPED_SIZE_MIN_BYTES)
