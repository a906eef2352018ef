"""From an exchange to the queues that a message gets into, over as many exchanges as are bound in between."""

from __future__ import annotations

from broker.routing.exchange import Exchange, Queue
from broker.routing.exchange_type import Headers


def find_queues(exchange: Exchange, routing_key: str, headers: Headers | None) -> tuple[Queue, ...] | None:
    """Return the queues that a message published to ``exchange`` goes to, each of them once.

    Every exchange on the way is asked once, so that cycles of bindings do no harm. Without ``headers`` the answer
    is for all messages with this routing key, or None if an exchange on the way depends on their headers. What
    ``headers`` raises comes through.
    """
    queues: dict[Queue, None] = {}
    seen = {exchange}
    pending = [exchange]
    while pending:
        exchange_type = pending.pop().type
        if headers is None and exchange_type.depends_on_headers:
            return None
        for destination in exchange_type.route(routing_key, headers or _no_headers):
            if not isinstance(destination, Exchange):
                queues[destination] = None
            elif destination not in seen:
                seen.add(destination)
                pending.append(destination)
    return tuple(queues)


def _no_headers() -> dict[str, object]:
    return {}
