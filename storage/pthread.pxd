# What the threads that run without the interpreter's lock are made of.

from libc.stdint cimport uint64_t


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_destroy(pthread_mutex_t *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_cond_init(pthread_cond_t *, void *)
    int pthread_cond_destroy(pthread_cond_t *)
    int pthread_cond_wait(pthread_cond_t *, pthread_mutex_t *)
    int pthread_cond_broadcast(pthread_cond_t *)

cdef extern from "<sched.h>" nogil:
    int SCHED_BATCH
    struct sched_param:
        int sched_priority
    int sched_setscheduler(int, int, const sched_param *)

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd_read(int, uint64_t *)
    int eventfd_write(int, uint64_t)


cdef inline void become_batch_thread() noexcept nogil:
    # A batch thread does not preempt who wakes it up, which is the event loop: handing work over costs the loop a
    # third, and under load a tenth, of what it costs otherwise. Where it is refused, it is only slower.
    cdef sched_param parameters
    parameters.sched_priority = 0
    sched_setscheduler(0, SCHED_BATCH, &parameters)
