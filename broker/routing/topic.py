"""The topic exchange: binding keys with wildcards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.routing.exchange import Binding, Destination
from broker.routing.exchange_type import ExchangeType, InvalidDefinitionError
from broker.routing.message_view import MessageView
from broker.routing.topic_trie import TopicTrie, split_words

HASH_WILDCARDS_MAX = 2
"""More are never needed, and each one multiplies what there is to match; RabbitMQ has the same limit."""


class TopicExchangeType(ExchangeType):
    """Routes by the words of the routing key, which are separated by dots (AMQP 0-9-1, section 3.1.3.3).

    In a binding key ``*`` stands for one word and ``#`` for any number of words, none included. Words may be
    empty; only the empty key has no word at all, so that ``#`` matches it and ``*`` does not.
    """

    name = "topic"

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__(arguments)
        self._trie = TopicTrie()

    def validate_binding(self, binding: Binding) -> None:
        """Refuse binding keys with too many ``#``."""
        count = split_words(binding.routing_key).count("#")
        if count > HASH_WILDCARDS_MAX:
            raise InvalidDefinitionError(
                f"Topic binding key '{binding.routing_key}' uses {count} '#' wildcards, "
                f"at most {HASH_WILDCARDS_MAX} are allowed"
            )

    def bind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        self._trie.add(binding.routing_key, binding)

    def unbind(self, binding: Binding) -> None:
        """See ``ExchangeType``."""
        self._trie.remove(binding.routing_key, binding)

    def route(self, routing_keys: tuple[str, ...], message: MessageView) -> Iterable[Destination]:  # noqa: ARG002
        """See ``ExchangeType``."""
        return [binding.destination for key in routing_keys for binding in self._trie.match(key)]
