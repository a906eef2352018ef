from typing import Any

from protocol.amqp.reader import FrameReader

class AddressTable:
    """A shortcut to what somebody else knows by address.

    It need not have all that was put into it: where too many addresses fall on the same places, a new one takes the
    place of another. What it has is what was put in last.
    """

    def __len__(self) -> int: ...
    def get(self, address: bytes) -> Any:
        """Return the value of an address, None if there is none here."""
    def put(self, address: bytes, value: Any) -> int:
        """Keep a value that is not None."""
    def remove(self, address: bytes) -> int:
        """Forget an address, if it is here."""
    def clear(self) -> int:
        """Forget everything, and give the memory back."""

    # Only for compiled callers.
    def find(self, reader: FrameReader) -> Any:
        """Return the value of the address that was read, None if there is none here."""
