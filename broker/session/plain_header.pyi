"""Content headers that need not be decoded."""

from typing import Any

def judge(channel: Any, header: bytes, reply_name: bytes | None) -> tuple[int, bytes | None, int]:
    """Return delivery mode, the header that a message is to have, and its traits.

    The delivery mode is below 0 when the header is malformed. There is no header when ``accept_properties`` has to
    judge. ``reply_name`` takes the place of the pseudo-queue in reply-to.
    """

def accept_plain(channel: Any, header: bytes, reply_name: bytes | None, mode: Any, traits: Any) -> bytes | None:
    """Do as ``judge`` with pointers; only compiled code can call it."""
