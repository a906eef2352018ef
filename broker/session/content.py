"""Content as it comes in several frames: basic.publish, a content header, and the pieces of a body."""

import cython

from broker.queueing.consumer import DeliveryTarget
from broker.queueing.message import BODY_SIZE_MAX_BYTES
from protocol.amqp import content_header
from protocol.amqp.errors import frame_error, precondition_failed, unexpected_frame
from protocol.amqp.reader import FrameReader

# What the channel expects next (specification, section 4.2.6).
EXPECT_METHOD = 0
EXPECT_HEADER = 1
EXPECT_BODY = 2

# Up to this size a body is received into its final place; the memory of larger ones is not taken on the mere word
# of the publisher, but piece by piece as they come.
BODY_PREALLOCATED_SIZE_MAX_BYTES = 1024 * 1024


class ContentReceiver(DeliveryTarget):
    """The side of a channel that puts content together. A channel is the only one there is.

    It is a base of the channel and no object of its own, so that content which comes in one piece, as most does, costs
    no more than a look at ``_content_state``.
    """

    def __init__(self, max_message_size_bytes: int) -> None:
        self.max_message_size_bytes = max_message_size_bytes
        self._content_state = EXPECT_METHOD
        self._content_address = b""
        self._content_flags = 0
        self._content_header = b""
        self._content_left = 0
        self._content_body: bytes | None = None
        self._content_pieces: list[bytes] = []
        self._content_received = 0

    def take_content(self, address: bytes, flags: cython.uint, header: bytes, body: bytes) -> int:
        """Take a basic.publish whose content is complete."""
        raise NotImplementedError

    def receive_publish(self, reader: FrameReader) -> int:
        """Take a basic.publish whose content is still to come."""
        self.check_no_content()
        self._content_address = reader.address_octets()
        self._content_flags = reader.flags
        self._content_state = EXPECT_HEADER
        return 0

    def receive_header(self, reader: FrameReader) -> int:
        """Take a content header."""
        if self._content_state != EXPECT_HEADER:
            self.check_no_content()
            raise unexpected_frame("expected method frame, got non method frame instead")
        header = reader.payload_octets()
        if content_header.weight(header) != 0:
            raise unexpected_frame("expected content header for class 60, got non content header frame instead", 60, 40)
        class_id = content_header.class_id(header)
        if class_id != 60:
            text = f"expected content header for class 60, got one for class {class_id} instead"
            raise unexpected_frame(text, 60, 40)
        size: cython.ulonglong = content_header.body_size(header)
        if size > BODY_SIZE_MAX_BYTES:
            text = f"content body size {size} exceeds maximum allowed size {BODY_SIZE_MAX_BYTES}"
            raise frame_error(text, 60, 40)
        if size > self.max_message_size_bytes:
            self._content_state = EXPECT_METHOD
            raise self.too_large(size)
        self._content_header = header
        self._content_left = size
        self._content_received = 0
        if size == 0:
            self._content_body = b""
            return self._complete_content()
        self._content_body = reader.new_body(size) if size <= BODY_PREALLOCATED_SIZE_MAX_BYTES else None
        self._content_state = EXPECT_BODY
        return 0

    def receive_body(self, reader: FrameReader) -> int:
        """Take a piece of a content body."""
        if self._content_state == EXPECT_METHOD:
            raise unexpected_frame("expected method frame, got non method frame instead")
        if self._content_state == EXPECT_HEADER:
            self.check_no_content()
        size: cython.Py_ssize_t = reader.payload_size
        if cython.cast(cython.ulonglong, size) > self._content_left:
            raise frame_error("content body frame exceeds remaining content size", 60, 40)
        if self._content_body is not None:
            reader.copy_payload(self._content_body, self._content_received)
        elif size:
            self._content_pieces.append(reader.payload_octets())
        self._content_received += size
        self._content_left -= size
        if self._content_left == 0:
            return self._complete_content()
        return 0

    def received_of_body(self) -> int:
        """Return how much of a body there is that is not complete yet."""
        return self._content_received if self._content_state == EXPECT_BODY else 0

    def check_no_content(self) -> int:
        """Refuse a method while content is expected."""
        if self._content_state == EXPECT_HEADER:
            raise unexpected_frame("expected content header for class 60, got non content header frame instead", 60, 40)
        if self._content_state == EXPECT_BODY:
            raise unexpected_frame("expected content body, got non content body frame instead", 60, 40)
        return 0

    def drop_content(self) -> None:
        """Forget the content that was being received."""
        self._content_state = EXPECT_METHOD
        self._content_body = None
        self._content_pieces = []

    def _complete_content(self) -> int:
        body = self._content_body
        if body is None:
            body = b"".join(self._content_pieces)
        header = self._content_header
        self.drop_content()
        return self.take_content(self._content_address, self._content_flags, header, body)

    def too_large(self, size: int) -> Exception:
        """Return the refusal of a body of ``size`` octets."""
        text = f"message size {size} is larger than configured max size {self.max_message_size_bytes}"
        return precondition_failed(text, 60, 40)
