from protocol.amqp.writer cimport OutputBuffer


cdef Py_ssize_t transmit(int descriptor, OutputBuffer output) noexcept
cdef Py_ssize_t transmit_octets(int descriptor, bytes octets) noexcept
