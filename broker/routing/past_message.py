"""A message that has passed an exchange, as exchange types may keep it for those who come later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from broker.routing.message_view import RoutedMessage

OVERHEAD_BYTES = 512
"""About what a kept message takes beside its octets."""


@dataclass(frozen=True, slots=True)
class PastMessage:
    """What is needed to route the message again; no part of the journal or of a queue is held on to by it."""

    routing_keys: tuple[str, ...]
    address: bytes
    header: bytes
    body: bytes
    persistent: bool

    @classmethod
    def of(cls, routing_keys: tuple[str, ...], message: RoutedMessage) -> Self:
        """Return what is to be kept of a message."""
        return cls(routing_keys, message.address, message.header, message.body, message.persistent)

    @property
    def size_bytes(self) -> int:
        """About the memory that it takes."""
        return OVERHEAD_BYTES + len(self.header) + len(self.body)
