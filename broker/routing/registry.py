"""The exchange types by the names that clients declare exchanges with."""

from broker.routing.consistent_hash import ConsistentHashExchangeType
from broker.routing.delayed_message import DelayedMessageExchangeType
from broker.routing.direct import DirectExchangeType
from broker.routing.exchange_type import ExchangeType, InvalidDefinitionError
from broker.routing.fanout import FanoutExchangeType
from broker.routing.headers import HeadersExchangeType
from broker.routing.local_random import LocalRandomExchangeType
from broker.routing.modulus_hash import ModulusHashExchangeType
from broker.routing.random_exchange import RandomExchangeType
from broker.routing.recent_history import RecentHistoryExchangeType
from broker.routing.topic import TopicExchangeType

EXCHANGE_TYPES: dict[str, type[ExchangeType]] = {
    exchange_type.name: exchange_type
    for exchange_type in (
        DirectExchangeType,
        FanoutExchangeType,
        HeadersExchangeType,
        TopicExchangeType,
        ConsistentHashExchangeType,
        DelayedMessageExchangeType,
        LocalRandomExchangeType,
        ModulusHashExchangeType,
        RandomExchangeType,
        RecentHistoryExchangeType,
    )
}

DelayedMessageExchangeType.inner_types = EXCHANGE_TYPES


def find_exchange_type(name: str) -> type[ExchangeType]:
    """Return the exchange type of that name; raises ``InvalidDefinitionError`` if there is none."""
    try:
        return EXCHANGE_TYPES[name]
    except KeyError:
        raise InvalidDefinitionError(f"unknown exchange type '{name}'") from None
