"""Alternate exchanges: where a message goes for which an exchange has no destination."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.routing.exchange import Exchange

ALTERNATE_EXCHANGE = "alternate-exchange"
"""The argument of ``exchange.declare`` that names it."""


class Alternates:
    """Which exchanges of a virtual host name which one as their alternate, whether or not it is there.

    ``exchanges`` is the virtual host's own mapping of exchanges by name, and is only read.
    """

    def __init__(self, exchanges: Mapping[str, Exchange]) -> None:
        self._exchanges = exchanges
        self._naming: dict[str, dict[Exchange, None]] = {}

    def find(self, name: str) -> Exchange | None:
        """Return the exchange of that name, if there is one."""
        return self._exchanges.get(name)

    def naming(self, name: str) -> Iterable[Exchange]:
        """Return the exchanges whose alternate has that name."""
        return self._naming.get(name, ())

    def rename(self, exchange: Exchange, before: str | None, after: str | None) -> None:
        """Take in that the alternate of an exchange has another name than before; None stands for no alternate."""
        if before is not None:
            naming = self._naming[before]
            del naming[exchange]
            if not naming:
                del self._naming[before]
        if after is not None:
            self._naming.setdefault(after, {})[exchange] = None
