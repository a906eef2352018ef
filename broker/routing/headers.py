"""The headers exchange: routes by what the headers of a message say, not by its routing key."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from broker.routing.exchange import Binding, Destination
from broker.routing.exchange_type import ExchangeType, InvalidDefinitionError
from broker.routing.field_value import comparable
from broker.routing.message_view import MessageView
from protocol.amqp.erlang_term import format_term, format_type

X_MATCH = "x-match"
_MISSING = object()


class HeadersExchangeType(ExchangeType):
    """Routes by the arguments of a binding (AMQP 0-9-1, section 3.1.3.4).

    ``x-match`` says whether ``all`` of them (the default) have to be among the headers, or ``any``. Arguments
    whose name begins with ``x-`` do not count, unless it is ``all-with-x`` or ``any-with-x``. An argument without
    a value asks only whether the header is there.
    """

    name = "headers"
    depends_on_message = True

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__(arguments)
        self._patterns: dict[Binding, HeadersPattern] = {}

    def validate_binding(self, binding: Binding) -> None:
        """Refuse an unknown ``x-match``."""
        HeadersPattern(binding.arguments)

    def bind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        self._patterns[binding] = HeadersPattern(binding.arguments)

    def unbind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        del self._patterns[binding]

    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:  # noqa: ARG002
        """See ``ExchangeType``."""
        if not self._patterns:
            return ()
        values = {name: comparable(value) for name, value in message.headers.items()}
        return [binding.destination for binding, pattern in self._patterns.items() if pattern.matches(values)]


class HeadersPattern:
    """What a binding's arguments ask of the headers, made ready for comparing."""

    __slots__ = ("_any", "_present", "_values")

    def __init__(self, arguments: Mapping[str, object]) -> None:
        """Read the arguments; raises ``InvalidDefinitionError`` for an unknown ``x-match``."""
        match = arguments.get(X_MATCH, "all")
        if not isinstance(match, str):
            raise InvalidDefinitionError(
                f"Invalid x-match field type {format_type(match)} (value {format_term(match)}); expected longstr"
            )
        if match not in ("all", "any", "all-with-x", "any-with-x"):
            raise InvalidDefinitionError(
                f"Invalid x-match field value {format_term(match)}; expected all, any, all-with-x, or any-with-x"
            )
        with_x = match.endswith("-with-x")
        counting = {name: value for name, value in arguments.items() if with_x or not name.startswith("x-")}
        counting.pop(X_MATCH, None)
        self._any = match.startswith("any")
        self._present = [name for name, value in counting.items() if value is None]
        self._values = [(name, comparable(value)) for name, value in counting.items() if value is not None]

    def matches(self, headers: Mapping[str, Hashable]) -> bool:
        """Return whether headers, their values made comparable, are what the binding asks for.

        A binding that asks for nothing gets everything with ``all``, and nothing with ``any``.
        """
        decide = any if self._any else all
        found = decide(name in headers for name in self._present)
        if bool(found) == self._any:
            return found
        return decide(headers.get(name, _MISSING) == value for name, value in self._values)
