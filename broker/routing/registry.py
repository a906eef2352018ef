"""The exchange types by the names that clients declare exchanges with."""

from broker.routing.direct import DirectExchangeType
from broker.routing.exchange_type import ExchangeType, InvalidDefinitionError
from broker.routing.fanout import FanoutExchangeType
from broker.routing.headers import HeadersExchangeType
from broker.routing.topic import TopicExchangeType

EXCHANGE_TYPES: dict[str, type[ExchangeType]] = {
    exchange_type.name: exchange_type
    for exchange_type in (DirectExchangeType, FanoutExchangeType, HeadersExchangeType, TopicExchangeType)
}


def find_exchange_type(name: str) -> type[ExchangeType]:
    """Return the exchange type of that name; raises ``InvalidDefinitionError`` if there is none."""
    try:
        return EXCHANGE_TYPES[name]
    except KeyError:
        raise InvalidDefinitionError(f"unknown exchange type '{name}'") from None
