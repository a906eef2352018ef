"""The exchanges that each virtual host has from the start."""

from __future__ import annotations

from broker.hooks.events import EVENT_EXCHANGE
from broker.hooks.firehose import TRACE_EXCHANGE

PREDECLARED_EXCHANGES = {
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.topic": "topic",
    "amq.headers": "headers",
    "amq.match": "headers",
    TRACE_EXCHANGE: "topic",
    EVENT_EXCHANGE: "topic",
}
INTERNAL_EXCHANGES = (TRACE_EXCHANGE, EVENT_EXCHANGE)
