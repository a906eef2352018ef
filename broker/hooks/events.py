"""Events: what happens to the objects of the broker, published for whoever wants to follow.

As in RabbitMQ's plugin rabbitmq_event_exchange: a topic exchange, routing keys like ``queue.created``, and everything
there is to say in the headers of messages without a body.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from broker.clock import now_ms
from broker.hooks.internal_publish import PERSISTENT, encode_header, publish
from broker.logs import get_logger
from broker.turn import Turn
from protocol.amqp.field_table import Float, Longlong
from protocol.amqp.properties import BasicProperties

log = get_logger("hooks")

EVENT_EXCHANGE = "amq.rabbitmq.event"

# Who did what no client asked for, in RabbitMQ's words.
INTERNAL_USER = "rmq-internal"

# How many events wait to be published; what happens beyond that in one turn of the event loop is not told.
PENDING_MAX = 10_000

# How many events are published in one turn.
PUBLISHED_PER_TURN_MAX = 1000


class Events:
    """The events of a broker; off until ``enable`` names the virtual host whose exchange gets them.

    They are published at the end of the turn, so that nothing that happens can be disturbed by being told.
    ``acting_user`` is who is at work just now.
    """

    def __init__(self, turn: Turn) -> None:
        self.acting_user = INTERNAL_USER
        self.dropped_count = 0
        self._turn = turn
        self._vhost: Any = None
        self._exchange: Any = None
        self._pending: deque[tuple[str, int, Mapping[str, Any]]] = deque()

    @property
    def enabled(self) -> bool:
        """Whether events are published."""
        return self._vhost is not None

    def enable(self, vhost: Any) -> None:
        """Publish events to ``amq.rabbitmq.event`` in this virtual host from now on."""
        self._vhost = vhost
        self._exchange = vhost.exchanges[EVENT_EXCHANGE]

    def disable(self) -> None:
        """Publish no more events, and forget those that wait."""
        self._vhost = self._exchange = None
        self._pending.clear()

    def tell(self, name: str, describe: Callable[..., Mapping[str, Any]], *subjects: Any) -> None:
        """Tell that something has happened; ``describe(*subjects)`` says the rest, if anybody listens."""
        if self._exchange is None or not self._exchange.bindings:
            return
        if len(self._pending) >= PENDING_MAX:
            self.dropped_count += 1
            if self.dropped_count == 1 or self.dropped_count % PENDING_MAX == 0:
                log.warning("events dropped: there are too many at once", dropped=self.dropped_count)
            return
        if not self._pending:
            self._turn.want_step(self._publish_pending)
        properties = {"user_who_performed_action": self.acting_user, **describe(*subjects)}
        self._pending.append((name, now_ms(), properties))

    def _publish_pending(self) -> None:
        try:
            for _ in range(min(len(self._pending), PUBLISHED_PER_TURN_MAX)):
                name, at_ms, properties = self._pending.popleft()
                publish(self._vhost, EVENT_EXCHANGE, name, _header(at_ms, properties), b"", persistent=True)
        finally:
            if self._pending:
                self._turn.want_step(self._publish_pending)


def _header(at_ms: int, properties: Mapping[str, Any]) -> bytes:
    headers = {"timestamp_in_ms": Longlong(at_ms), **{name: _field(value) for name, value in properties.items()}}
    content = BasicProperties(headers=headers, delivery_mode=PERSISTENT, timestamp=at_ms // 1000)
    try:
        return encode_header(content, 0)
    except ValueError:
        # What clients have given, as arguments or as their properties, can be too much or too deep for a header.
        content.headers = {name: value for name, value in headers.items() if not isinstance(value, Mapping)}
        return encode_header(content, 0)


def _field(value: Any) -> Any:
    """Return a value with the type that RabbitMQ gives it: integers are long."""
    if isinstance(value, Mapping):
        return {name: _field(inner) for name, inner in value.items()}
    if type(value) is int and -(1 << 63) <= value < 1 << 63:
        return Longlong(value)
    return Float(value) if type(value) is float else value
