"""What a queue does, from its arguments and the policies that apply to it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import msgspec

DELIVERY_LIMIT_OF_QUORUM_QUEUES = 20
DEDUPLICATION_WINDOW_MS = 10 * 60 * 1000
DEDUPLICATION_COUNT = 100_000
REDELIVERY_DELAY_MAX_MS = 24 * 60 * 60 * 1000


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The settings of a queue that hold now. None means that there is no such limit or behaviour."""

    message_ttl_ms: int | None = None
    expires_ms: int | None = None
    max_length: int | None = None
    max_length_bytes: int | None = None
    overflow: str = "drop-head"
    dead_letter_exchange: str | None = None
    dead_letter_routing_key: str | None = None
    max_priority: int = 0
    single_active_consumer: bool = False
    delivery_limit: int | None = None
    counts_deliveries: bool = False
    consumer_timeout_ms: int | None = None
    redelivery_delay_ms: int = 0
    redelivery_delay_multiplier: float = 1.0
    redelivery_delay_max_ms: int = REDELIVERY_DELAY_MAX_MS
    delayed: bool = False
    group_header: str | None = None
    deduplication: bool = False
    deduplication_window_ms: int = DEDUPLICATION_WINDOW_MS
    deduplication_count: int = DEDUPLICATION_COUNT
    deduplication_header: str | None = None

    @cached_property
    def is_limited(self) -> bool:
        """Return whether the queue has a maximum length of either kind."""
        return self.max_length is not None or self.max_length_bytes is not None

    @cached_property
    def is_timed(self) -> bool:
        """Return whether the queue has to know when each message was published."""
        return self.message_ttl_ms is not None or self.delayed

    @cached_property
    def is_managed(self) -> bool:
        """Return whether the queue does more than first in, first out, whatever its messages ask for."""
        return bool(
            self.is_timed
            or self.is_limited
            or self.max_priority
            or self.group_header is not None
            or self.counts_deliveries
        )

    def redelivery_delay_after_ms(self, count: int) -> int:
        """Return how long a message waits that has come back ``count`` times."""
        if not self.redelivery_delay_ms:
            return 0
        longest = max(self.redelivery_delay_ms, self.redelivery_delay_max_ms)
        try:
            delay = self.redelivery_delay_ms * self.redelivery_delay_multiplier ** (count - 1)
        except OverflowError:
            return longest
        # It may have become infinite, which is no integer.
        return longest if delay > longest else int(delay)


PLAIN = QueueSettings()

SHARED_SETTINGS_MAX = 1024
"""So many different settings are kept to be shared by queues that have the same."""


@lru_cache(maxsize=SHARED_SETTINGS_MAX)
def shared(settings: QueueSettings) -> QueueSettings:
    """Return settings that are equal, and if possible those that other queues have already."""
    return settings


def queue_settings(effective: Mapping[str, Any], *, queue_type: str = "classic") -> QueueSettings:
    """Return the settings of a queue.

    ``effective`` are its valid arguments and what policies add, by their names without the ``x-``.
    """
    get = effective.get
    limit = get("delivery-limit")
    if limit is None and queue_type == "quorum":
        limit = DELIVERY_LIMIT_OF_QUORUM_QUEUES
    delay = get("redelivery-delay", 0)
    return QueueSettings(
        message_ttl_ms=get("message-ttl"),
        expires_ms=get("expires"),
        max_length=get("max-length"),
        max_length_bytes=get("max-length-bytes"),
        overflow=get("overflow", "drop-head"),
        dead_letter_exchange=get("dead-letter-exchange"),
        dead_letter_routing_key=get("dead-letter-routing-key"),
        max_priority=get("max-priority", 0),
        single_active_consumer=get("single-active-consumer", False),
        delivery_limit=None if limit is None or limit < 0 else limit,
        counts_deliveries=queue_type == "quorum" or limit is not None or delay > 0,
        consumer_timeout_ms=get("consumer-timeout"),
        redelivery_delay_ms=delay,
        redelivery_delay_multiplier=float(get("redelivery-delay-multiplier", 1)),
        redelivery_delay_max_ms=get("redelivery-delay-max", REDELIVERY_DELAY_MAX_MS),
        delayed=get("delayed", False),
        group_header=get("group-header"),
        deduplication=get("deduplication", False),
        deduplication_window_ms=get("deduplication-window", DEDUPLICATION_WINDOW_MS),
        deduplication_count=get("deduplication-count", DEDUPLICATION_COUNT),
        deduplication_header=get("deduplication-header"),
    )
