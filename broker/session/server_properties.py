"""What the broker says of itself in connection.start.

kombu, and Celery with it, looks at ``product`` and ``version`` to decide what ``global`` means in basic.qos: for a
"RabbitMQ" from 3.3 to before 4.0 it takes RabbitMQ's meaning (per channel, and changeable while consuming), otherwise
it gives up changing the prefetch count, or takes the specification's. Haypile has RabbitMQ's meaning of ``global``,
so it says so in the only words that these clients know. ``haypile`` carries the truth.
"""

from __future__ import annotations

import platform
from typing import Any

from broker.version import VERSION

PRODUCT = "RabbitMQ"
COMPATIBLE_VERSION = "3.13.7"

CAPABILITIES = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
)


def server_properties(cluster_name: str) -> dict[str, Any]:
    """Return the server-properties of connection.start."""
    return {
        "capabilities": dict.fromkeys(CAPABILITIES, True),
        "cluster_name": cluster_name,
        "copyright": "The Haypile developers",
        "haypile": VERSION,
        "information": "Haypile, a message broker that speaks AMQP 0-9-1 as RabbitMQ does. Licensed under Apache-2.0",
        "platform": f"Python {platform.python_version()}",
        "product": PRODUCT,
        "version": COMPATIBLE_VERSION,
    }
