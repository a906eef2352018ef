from typing import Final

class ReadBuffer:
    """The one buffer that all connections of an event loop read into.

    A read is consumed before the next one begins, so one buffer serves all; a connection that is idle owns none.
    The unfinished frame that the previous read of a connection ended with is copied into the headroom in front of
    the new octets.
    """

    headroom_bytes: Final[int]
    size_bytes: Final[int]
    view: Final[memoryview]
    def __init__(self, size_bytes: int, headroom_bytes: int) -> None: ...
    def piece(self, size: int) -> bytes | memoryview: ...

class FrameReader:
    """Finds the frames in what a connection received (specification, section 4.2.3).

    ``frame_max`` is the largest frame accepted, 0 for no limit; it may be changed between frames.
    """

    frame_max: int
    kind: int
    channel: int
    flags: int
    delivery_tag: int
    lost: bool
    def __init__(self, frame_max: int) -> None: ...
    @property
    def tail_bytes(self) -> int:
        """How many octets wait for the rest of their frame."""

    # What compiled callers use. Only they can: these take and give pointers or C integers.
    payload_size: int
    def feed(self, buffer: ReadBuffer, size: int) -> None: ...
    def feed_tail(self) -> None: ...
    def keep_tail(self) -> int: ...
    def next(self) -> int: ...
    def same_address(self, known: bytes) -> bool: ...
    def same_header(self, known: bytes) -> bool: ...
    def address_octets(self) -> bytes: ...
    def header_octets(self) -> bytes: ...
    def payload_octets(self) -> bytes: ...
    def new_body(self, size: int) -> bytes: ...
    def copy_payload(self, target: bytes, offset: int) -> int: ...
    def keep(self, data: bytes) -> None:
        """Keep octets that were read elsewhere (with the protocol header) for the next frame."""
    def frames(self, buffer: ReadBuffer, data: bytes) -> list[tuple[str, int, bytes]]:
        """Feed ``data`` and return the frames it completed as (kind, channel, octets). For tests and tools.

        Raises ``ConnectionException`` on a frame that is too large, of an unknown type or not terminated.
        """

FRAME_NONE: Final[int]
FRAME_METHOD: Final[int]
FRAME_HEADER: Final[int]
FRAME_BODY: Final[int]
FRAME_PUBLISH: Final[int]
FRAME_CONTENT: Final[int]
FRAME_ACK: Final[int]
FRAME_NACK: Final[int]
FRAME_REJECT: Final[int]
FRAME_HEARTBEAT: Final[int]
