from protocol.amqp.writer cimport OutputBuffer


cdef Py_ssize_t transmit(int descriptor, OutputBuffer output) noexcept
