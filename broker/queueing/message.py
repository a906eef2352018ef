"""The message as the broker holds it: opaque bytes, stored once, however many queues hold it."""

import cython


class Message:
    """One published message.

    ``address`` is the wire form of the exchange's name and the routing key (two short strings, one after the
    other), ``header`` the payload of the content header frame as the publisher sent it; both are passed on
    verbatim, and are shared between messages that have the same.
    """

    def __init__(self, address: bytes, header: bytes, body: bytes, persistent: bool) -> None:
        self.address = address
        self.header = header
        self.body = body
        self.persistent = persistent

    def size(self) -> cython.Py_ssize_t:
        """Return the number of bytes of the body."""
        total: cython.Py_ssize_t = len(self.body)
        return total
