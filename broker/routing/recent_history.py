"""The recent history exchange: a fanout exchange that gives its last messages to who comes later."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from broker.routing.exchange import Binding, Destination
from broker.routing.exchange_type import InvalidDefinitionError
from broker.routing.fanout import FanoutExchangeType
from broker.routing.message_view import MessageView
from broker.routing.past_message import PastMessage
from protocol.amqp.erlang_term import format_term, format_type

HISTORY_LENGTH = "x-recent-history-length"
NO_STORE = "x-recent-history-no-store"

LENGTH_DEFAULT = 20
LENGTH_MAX = 10_000
"""The longest history that can be asked for: all of it is put into a queue in one go when the queue is bound."""

SIZE_MAX_BYTES = 64 * 1024 * 1024
"""What the messages of one history may have together; the oldest go when there is more."""

_INTEGER_TYPES = ("byte", "short", "signedint", "long")


class RecentHistoryExchangeType(FanoutExchangeType):
    """Routes to every destination that is bound, and remembers the last messages for those that will be.

    They are kept in memory, and are gone after a restart. A message whose header ``x-recent-history-no-store`` is
    true is not kept.
    """

    name = "x-recent-history"
    depends_on_message = True

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__(arguments)
        self._length_max = _length(arguments)
        self._past: deque[PastMessage] = deque()
        self._size_bytes = 0

    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:
        """See ``ExchangeType``."""
        if message.headers.get(NO_STORE) is not True:
            self._remember(PastMessage.of(routing_keys, message.message))
        return super().route(routing_keys, message)

    def past_messages(self, binding: Binding) -> Iterable[PastMessage]:  # noqa: ARG002
        """See ``ExchangeType``."""
        return tuple(self._past)

    def _remember(self, message: PastMessage) -> None:
        self._past.append(message)
        self._size_bytes += message.size_bytes
        while len(self._past) > self._length_max or self._size_bytes > SIZE_MAX_BYTES:
            self._size_bytes -= self._past.popleft().size_bytes


def _length(arguments: Mapping[str, object]) -> int:
    if HISTORY_LENGTH not in arguments:
        return LENGTH_DEFAULT
    length = arguments[HISTORY_LENGTH]
    if not isinstance(length, int) or format_type(length) not in _INTEGER_TYPES or length <= 0:
        raise InvalidDefinitionError(
            f"Invalid argument {format_term(length)}, '{HISTORY_LENGTH}' must be a positive integer"
        )
    if length > LENGTH_MAX:
        raise InvalidDefinitionError(
            f"Invalid argument {format_term(length)}, '{HISTORY_LENGTH}' must not exceed {LENGTH_MAX}"
        )
    return length
