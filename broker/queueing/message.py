"""The message as the broker holds it: opaque bytes, stored once, however many queues hold it."""

import cython

from storage.segment import Segment

# The absolute limit of RabbitMQ, whatever is configured.
BODY_SIZE_MAX_BYTES = 512 * 1024 * 1024


# In the .pxd alone Cython does not heed the first two.
@cython.no_gc
@cython.freelist(1024)  # type: ignore[no-untyped-call]
@cython.cclass
class Message:
    """One published message.

    ``address`` is the wire form of the exchange's name and the routing key (two short strings, one after the
    other), ``header`` the payload of the content header frame as the publisher sent it; both are passed on
    verbatim, and are shared between messages that have the same. ``traits`` are what the header asks of the broker
    (see ``protocol.amqp.header_fields``).
    """

    def __init__(
        self,
        address: bytes,
        header: bytes,
        body: bytes,
        persistent: bool,
        traits: int = 0,
        published_at_ms: int = 0,
    ) -> None:
        self.address = address
        self.header = header
        self.body = body
        self.persistent = persistent
        self.traits = traits
        self.published_at_ms = published_at_ms
        self.segment: Segment | None = None
        self.offset_units = 0
        self.share_units = 0


def new_message(address: bytes, header: bytes, body: bytes, persistent: cython.bint, traits: cython.uint) -> Message:
    """Return ``Message(...)``, without the cost of a Python call when compiled."""
    message: Message = Message.__new__(Message)
    message.address = address
    message.header = header
    message.body = body
    message.persistent = persistent
    message.traits = traits
    message.published_at_ms = 0
    return message
