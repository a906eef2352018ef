"""What exchange types see of a message: its properties, decoded when they are first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from protocol.amqp.properties import BasicProperties, decode_properties


class RoutedMessage(Protocol):
    """All that routing asks of a message: what its publisher has sent, as octets."""

    @property
    def address(self) -> bytes:
        """The exchange and the routing key that it was published with, see ``broker.routing.address``."""

    @property
    def header(self) -> bytes:
        """The payload of the content header."""

    @property
    def body(self) -> bytes:
        """The body."""

    @property
    def persistent(self) -> bool:
        """Whether it is kept over a restart, in durable queues."""


class MessageView:
    """One message on its way through the exchanges."""

    __slots__ = ("_properties", "message")

    def __init__(self, message: RoutedMessage) -> None:
        self.message = message
        self._properties: BasicProperties | None = None

    @property
    def properties(self) -> BasicProperties:
        """The properties, decoded once for all exchanges on the way; raises where they are malformed."""
        if self._properties is None:
            self._properties = decode_properties(self.message.header)
        return self._properties

    @property
    def headers(self) -> Mapping[str, Any]:
        """The property ``headers``; empty where the message has none."""
        return self.properties.headers or {}


class _AnyMessage(MessageView):
    """Stands for all messages with one routing key, while their common route is looked for."""

    def __init__(self) -> None:
        pass

    @property
    def properties(self) -> BasicProperties:
        """There are none to see."""
        raise LookupError("only an exchange type with depends_on_message = True can look at messages")


ANY_MESSAGE: MessageView = _AnyMessage()
