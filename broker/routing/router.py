"""From an exchange to the queues that a message gets into, over as many exchanges as are bound in between."""

from __future__ import annotations

from broker.routing.exchange import Exchange, Queue
from broker.routing.message_view import ANY_MESSAGE, MessageView


def find_queues(
    exchange: Exchange, routing_keys: tuple[str, ...], message: MessageView | None
) -> tuple[Queue, ...] | None:
    """Return the queues that a message published to ``exchange`` goes to, each of them once.

    Every exchange on the way is asked once, so that cycles of bindings, and of alternate exchanges, do no harm.
    Without ``message`` the answer is for all messages with these routing keys, or None if an exchange on the way
    depends on the message. What looking at the message raises comes through.
    """
    queues: dict[Queue, None] = {}
    seen = {exchange}
    pending = [exchange]
    while pending:
        current = pending.pop()
        if message is None and current.type.depends_on_message:
            return None
        alternate = current.alternate_exchange
        for destination in current.type.route(routing_keys, message or ANY_MESSAGE):
            alternate = None
            if not isinstance(destination, Exchange):
                queues[destination] = None
            elif destination not in seen:
                seen.add(destination)
                pending.append(destination)
        if alternate is not None and alternate not in seen:
            seen.add(alternate)
            pending.append(alternate)
    return tuple(queues)
