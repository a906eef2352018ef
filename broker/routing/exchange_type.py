"""What an exchange type has to answer: which destinations a routing key, and perhaps headers, lead to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from broker.routing.exchange import Binding, Destination

Headers = Callable[[], Mapping[str, object]]
"""Gives the headers of a message; called only by those who need them, because they have to be decoded."""


class InvalidDefinitionError(ValueError):
    """An exchange or a binding that cannot be; its text is for the client, with reply code PRECONDITION_FAILED."""


class ExchangeType(ABC):
    """The routing of one exchange: a small pure object without I/O, which knows bindings and nothing else.

    A subclass is made once per exchange, with the arguments of its declaration.
    """

    name: ClassVar[str]
    """The name that clients declare exchanges of this type with."""

    depends_on_headers: ClassVar[bool] = False
    """Whether two messages with the same routing key may go different ways. Such routes are not cached."""

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
    def route(self, routing_key: str, headers: Headers) -> Iterable[Destination]:
        """Return where a message goes, in any order; a destination may come up several times.

        ``headers`` is only called by types that depend on headers.
        """
