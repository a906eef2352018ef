"""A thread that works without the interpreter's lock: one mutex, and one condition for all that may change."""

import threading

from storage.pthread cimport (
    become_batch_thread, pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_init, pthread_mutex_destroy,
    pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock,
)


cdef class Worker:
    """What runs on such a thread is ``_run``, which has to come to an end once it is ``stopping``."""

    THREAD_NAME = "journal-worker"

    def __cinit__(self):
        if pthread_mutex_init(&self.mutex, NULL) != 0 or pthread_cond_init(&self.changed, NULL) != 0:
            raise MemoryError
        self.initialized = True

    def __dealloc__(self):
        if self.initialized:
            pthread_cond_destroy(&self.changed)
            pthread_mutex_destroy(&self.mutex)

    def start(self):
        self.thread = threading.Thread(target=self._be_thread, name=self.THREAD_NAME, daemon=True)
        self.thread.start()

    def _be_thread(self):
        with nogil:
            become_batch_thread()
            self._run()

    def stop(self):
        pthread_mutex_lock(&self.mutex)
        self.stopping = True
        pthread_cond_broadcast(&self.changed)
        pthread_mutex_unlock(&self.mutex)
        self.thread.join()

    cdef void _run(self) noexcept nogil:
        pass
