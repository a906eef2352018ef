"""What an exchange type has to answer: which destinations routing keys, and perhaps properties, lead to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.routing.exchange import Binding, Destination
    from broker.routing.message_view import MessageView
    from broker.routing.past_message import PastMessage


class InvalidDefinitionError(ValueError):
    """An exchange or a binding that cannot be; its text is for the client, with reply code PRECONDITION_FAILED."""


class ExchangeType(ABC):
    """The routing of one exchange: a small object without I/O, which knows bindings and nothing else.

    A subclass is made once per exchange, with the arguments of its declaration. ``docs/extending.md`` shows one.
    """

    name: str
    """The name that clients declare exchanges of this type with."""

    depends_on_message: bool = False
    """Whether two messages with the same routing key may go different ways. Such routes are not cached.

    A subclass may set it once and for all, or in ``__init__`` where the arguments decide it; later it must not change.
    """

    def __init__(self, arguments: Mapping[str, object]) -> None:  # noqa: B027
        """Take the arguments of ``exchange.declare``; raises ``InvalidDefinitionError`` for invalid ones."""

    def validate_binding(self, binding: Binding) -> None:  # noqa: B027
        """Raise ``InvalidDefinitionError`` if ``binding`` must not be made."""

    @abstractmethod
    def bind(self, binding: Binding) -> None:
        """Take in a valid binding that is not yet there."""

    @abstractmethod
    def unbind(self, binding: Binding) -> None:
        """Take out a binding that is there; an equal one will do."""

    @abstractmethod
    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:
        """Return where a message goes, in any order; a destination may come up several times.

        The first routing key is that of ``basic.publish``. Others come from the headers CC and BCC, and a message
        goes wherever any of them leads. ``message`` is only looked at by types that depend on messages. These are
        asked exactly once for each message that reaches the exchange, so that they may count or keep them.
        """

    def past_messages(self, binding: Binding) -> Iterable[PastMessage]:  # noqa: ARG002
        """Return the messages that the destination of a binding gets now that it was made, the oldest first.

        They go as they were published. Asked for the new bindings of clients, not after a restart.
        """
        return ()
