"""How much freed memory the process keeps for the next message, instead of giving it back to the system."""

from typing import Final

KEPT_SIZE_MAX_BYTES: Final[int]
MAPPED_SIZE_MIN_BYTES: Final[int]

def configure() -> None:
    """Keep some.

    A body of a megabyte is 256 pages: to have them mapped and cleared by the system for each message costs more than
    to copy the message. Does nothing where the C library is not glibc.
    """
