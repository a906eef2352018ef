"""The thread that reads records back: it checks each one, and never holds the interpreter's lock.

The event loop collects places of records in a ``Fetch`` and submits it; the thread reads them in the order in which
they are given, in few large pieces where they are close to each other, and tells by an eventfd when it has done so.
"""

import os

from libc.errno cimport ENOMEM
from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, realloc

from storage.disk cimport Disk
from storage.pthread cimport (
    eventfd_write, pthread_cond_broadcast, pthread_cond_wait, pthread_mutex_lock, pthread_mutex_unlock,
)
from storage.record cimport RECORD_HEADER_SIZE, RecordHeader, header_is_valid, record_is_valid, record_size
from storage.segment cimport RECORD_UNIT_SIZE, Segment
from storage.worker cimport Worker

cdef enum:
    PATH_SIZE_MAX = 4096


cdef inline long long offset_of(FetchItem *item) noexcept nogil:
    return <long long>(<uint32_t>item.location) * RECORD_UNIT_SIZE


cdef inline long long likely_end(FetchItem *item) noexcept nogil:
    return offset_of(item) + RECORD_HEADER_SIZE + item.body_size + SPAN_SLACK


cdef FetchSource *source_of(FetchWork *work, uint64_t number) noexcept nogil:
    cdef int index = work.source_count - 1
    while index >= 0:
        if work.sources[index].number == number:
            return &work.sources[index]
        index -= 1
    return NULL


cdef bint make_room(FetchWork *work, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t capacity = work.size + size
    cdef unsigned char *grown
    if capacity > work.data_capacity:
        grown = <unsigned char *>realloc(work.data, max(capacity, min(2 * work.data_capacity, DATA_SIZE_MAX)))
        if grown is NULL:
            return False
        work.data = grown
        work.data_capacity = max(capacity, min(2 * work.data_capacity, DATA_SIZE_MAX))
    return True


cdef bint judge(FetchWork *work, FetchItem *item, FetchSource *source, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Say what the record at ``at`` is like, of which ``size`` bytes are there; False if those are not enough."""
    cdef unsigned char *record = work.data + at
    if size < RECORD_HEADER_SIZE:
        return False
    # What its header says about its size is believed only if that header is whole.
    if not header_is_valid(record, HUGE, source.seed, source.epoch):
        item.status = DAMAGED
        return True
    if size < record_size((<RecordHeader *>record).payload_size):
        return False
    item.at = at
    item.status = READ if record_is_valid(record, size, source.seed, source.epoch) else DAMAGED
    return True


cdef Py_ssize_t HUGE = 1 << 40


cdef void *enlarged(void *entries, Py_ssize_t *capacity, size_t entry_size) except NULL:
    """Return an array, with its entries, that holds at least twice as many."""
    cdef Py_ssize_t wanted = max(8, 2 * capacity[0])
    cdef void *grown = realloc(entries, wanted * entry_size)
    if grown is NULL:
        raise MemoryError
    capacity[0] = wanted
    return grown


cdef class Fetch:
    def __cinit__(self, owner=None):
        self.owner = owner

    def __dealloc__(self):
        free(self.work.items)
        free(self.work.sources)
        free(self.work.data)

    def __len__(self):
        return self.work.count

    cpdef int add(self, uint64_t position, uint64_t location, uint32_t body_size) except -1:
        cdef FetchWork *work = &self.work
        cdef FetchItem *item
        if work.count == work.capacity:
            work.items = <FetchItem *>enlarged(work.items, &work.capacity, sizeof(FetchItem))
        item = &work.items[work.count]
        item.position = position
        item.location = location
        item.body_size = body_size
        item.status = NOT_READ
        item.error = 0
        item.at = 0
        work.count += 1
        return 0

    cdef int add_source(self, Segment segment) except -1:
        cdef FetchWork *work = &self.work
        cdef FetchSource *source
        if work.source_count == work.source_capacity:
            work.sources = <FetchSource *>enlarged(work.sources, &work.source_capacity, sizeof(FetchSource))
        source = &work.sources[work.source_count]
        source.number = segment.number
        source.seed = segment.file.seed
        source.epoch = segment.epoch
        work.source_count += 1
        return 0

    cdef bint knows(self, uint64_t number) noexcept:
        return source_of(&self.work, number) is not NULL

    cdef RecordHeader *record(self, Py_ssize_t index) noexcept:
        return <RecordHeader *>(self.work.data + self.work.items[index].at)

    def results(self):
        cdef Py_ssize_t index
        cdef RecordHeader *header
        found = []
        for index in range(self.work.count):
            payload = None
            if self.work.items[index].status == READ:
                header = self.record(index)
                payload = (<const unsigned char *>header)[
                    RECORD_HEADER_SIZE:RECORD_HEADER_SIZE + <Py_ssize_t>header.payload_size
                ]
            found.append((self.work.items[index].position, FetchStatus(self.work.items[index].status), payload))
        return found


cdef class Fetcher(Worker):
    THREAD_NAME = "journal-fetch"

    def __cinit__(self, Disk disk not None, directory, int completion):
        self.disk = disk
        self.completion = completion
        self.directory = os.fsencode(directory)
        self.directory_path = self.directory
        self.handed_over = []

    cpdef bint submit(self, Fetch fetch) except -1:
        """Have records read. Returns False if too many fetches are on their way already."""
        if len(self.handed_over) == FETCHES_MAX:
            return False
        # The thread has no reference of its own.
        self.handed_over.append(fetch)
        pthread_mutex_lock(&self.mutex)
        self.waiting[self.waiting_count] = &fetch.work
        self.waiting_count += 1
        pthread_cond_broadcast(&self.changed)
        pthread_mutex_unlock(&self.mutex)
        return True

    cpdef list take_finished(self):
        """Return the fetches that are finished, in the order in which they were submitted."""
        cdef list finished = []
        cdef Fetch fetch
        if not self.handed_over:
            return finished
        pthread_mutex_lock(&self.mutex)
        for fetch in self.handed_over:
            if not fetch.work.finished:
                break
            finished.append(fetch)
        pthread_mutex_unlock(&self.mutex)
        del self.handed_over[:len(finished)]
        return finished

    cpdef void forget_files(self) noexcept:
        """Close the files that are open: one of them is about to be removed, and its room would not become free."""
        pthread_mutex_lock(&self.mutex)
        self.close_all = True
        pthread_cond_broadcast(&self.changed)
        pthread_mutex_unlock(&self.mutex)

    cdef void _run(self) noexcept nogil:
        cdef FetchWork *work
        cdef bint closing
        while True:
            pthread_mutex_lock(&self.mutex)
            while self.waiting_count == 0 and not self.stopping and not self.close_all:
                pthread_cond_wait(&self.changed, &self.mutex)
            closing = self.close_all or self.stopping
            self.close_all = False
            work = NULL if self.stopping or self.waiting_count == 0 else self._take_waiting()
            pthread_mutex_unlock(&self.mutex)
            if closing:
                self._close_descriptors()
            if work is not NULL:
                self._serve(work)
                pthread_mutex_lock(&self.mutex)
                work.finished = True
                pthread_mutex_unlock(&self.mutex)
                eventfd_write(self.completion, 1)
            elif self.stopping:
                return

    cdef FetchWork *_take_waiting(self) noexcept nogil:
        cdef int index
        cdef FetchWork *taken = self.waiting[0]
        self.waiting_count -= 1
        for index in range(self.waiting_count):
            self.waiting[index] = self.waiting[index + 1]
        return taken

    cdef void _close_descriptors(self) noexcept nogil:
        cdef int index
        for index in range(DESCRIPTORS_MAX):
            if self.numbers[index]:
                self.disk.close(self.descriptors[index])
                self.numbers[index] = 0

    cdef int _open(self, uint64_t number, int *error) noexcept nogil:
        """Return a descriptor for the file of a segment, which stays open for a while; -1 with ``error`` set."""
        cdef char[PATH_SIZE_MAX] path
        cdef int index
        error[0] = 0
        for index in range(DESCRIPTORS_MAX):
            if self.numbers[index] == number:
                return self.descriptors[index]
        snprintf(path, PATH_SIZE_MAX, b"%s/segment-%016llu", self.directory_path, <unsigned long long>number)
        index = self.next_descriptor
        if self.numbers[index]:
            self.disk.close(self.descriptors[index])
            self.numbers[index] = 0
        self.descriptors[index] = self.disk.open_for_reading(path, error)
        if self.descriptors[index] < 0:
            return -1
        self.numbers[index] = number
        self.next_descriptor = (index + 1) % DESCRIPTORS_MAX
        return self.descriptors[index]

    # Reading

    cdef void _serve(self, FetchWork *work) noexcept nogil:
        cdef Py_ssize_t index = 0
        while index < work.count and work.size < DATA_SIZE_MAX:
            index = self._read_span(work, index)

    cdef Py_ssize_t _read_span(self, FetchWork *work, Py_ssize_t first) noexcept nogil:
        """Read a record and those behind it that are close; return the index of the next one."""
        cdef FetchItem *item = &work.items[first]
        cdef uint64_t number = item.location >> 32
        cdef FetchSource *source = source_of(work, number)
        cdef long long start = offset_of(item)
        cdef long long end = likely_end(item)
        cdef Py_ssize_t index = first + 1
        cdef Py_ssize_t at = work.size
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t place
        cdef int error = 0
        cdef int descriptor = self._open(number, &error)
        while index < work.count and end - start <= SPAN_SIZE_MAX:
            item = &work.items[index]
            if item.location >> 32 != number or not start <= offset_of(item) <= end + SPAN_GAP_MAX:
                break
            end = max(end, likely_end(item))
            index += 1
        if error == 0 and make_room(work, <Py_ssize_t>(end - start)):
            size = self.disk.read(descriptor, work.data + at, <size_t>(end - start), start, &error)
            if size > 0:
                work.size += size
        for place in range(first, index):
            item = &work.items[place]
            if descriptor < 0:
                item.status = UNREADABLE
                item.error = error
            elif not judge(
                work, item, source, at + <Py_ssize_t>(offset_of(item) - start),
                size - <Py_ssize_t>(offset_of(item) - start)
            ):
                # It is larger than expected, or else one bad place of the disk shall cost one record only.
                self._read_one(work, item, source, descriptor)
        return index

    cdef void _read_one(self, FetchWork *work, FetchItem *item, FetchSource *source, int descriptor) noexcept nogil:
        cdef Py_ssize_t needed = RECORD_HEADER_SIZE
        cdef Py_ssize_t size
        cdef int attempt
        # First the header, which says how much there is to read.
        for attempt in range(2):
            item.error = ENOMEM
            item.status = UNREADABLE
            if not make_room(work, needed):
                return
            size = self.disk.read(descriptor, work.data + work.size, needed, offset_of(item), &item.error)
            if size < 0:
                return
            if judge(work, item, source, work.size, size):
                work.size += size
                return
            if size < needed:
                # The file ends before the record does.
                item.status = DAMAGED
                return
            needed = record_size((<RecordHeader *>(work.data + work.size)).payload_size)
