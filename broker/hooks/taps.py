"""Where the hot path looks whether somebody wants to see messages."""

from typing import Any


class Taps:
    """What sees the messages of a virtual host on their way in and on their way out; None where nothing does.

    All channels of a virtual host share it, so that each of them costs one test of a pointer, and all of them see at
    once when something is switched on.
    """

    def __init__(self) -> None:
        self.publishing: Any = None
        self.delivering: Any = None
