"""The exchange types by the names that clients declare exchanges with: those built in, and those of extensions."""

import inspect

from broker import extensions
from broker.extensions import Extension
from broker.logs import get_logger
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

log = get_logger("broker")

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
_BUILT_IN = frozenset(EXCHANGE_TYPES)


def load_extensions() -> None:
    """Add the exchange types that installed distributions offer; raises ``broker.extensions.ExtensionError``."""
    for extension in extensions.find_extensions(extensions.EXCHANGE_TYPES):
        EXCHANGE_TYPES[extension.name] = _load(extension)
        log.info("extension loaded", exchange_type=extension.name, distribution=extension.distribution)


def _load(extension: Extension) -> type[ExchangeType]:
    if extension.name in _BUILT_IN:
        raise extension.error("exchange types that are built in cannot be replaced")
    # An abstract class is what is asked for here, as a base and not to be made.
    loaded = extension.load_subclass(ExchangeType)  # type: ignore[type-abstract]
    if inspect.isabstract(loaded):
        missing = ", ".join(sorted(loaded.__abstractmethods__))
        raise extension.error(f"{loaded.__name__} does not implement {missing}")
    if getattr(loaded, "name", None) != extension.name:
        raise extension.error(f"{loaded.__name__}.name has to be '{extension.name}', as the entry point is called")
    return loaded


def find_exchange_type(name: str) -> type[ExchangeType]:
    """Return the exchange type of that name; raises ``InvalidDefinitionError`` if there is none."""
    try:
        return EXCHANGE_TYPES[name]
    except KeyError:
        raise InvalidDefinitionError(f"unknown exchange type '{name}'") from None
