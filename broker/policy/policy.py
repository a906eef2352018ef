"""A policy: settings for the queues or exchanges whose names match a pattern."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

QueueType = Literal["classic", "quorum", "stream"]

QUEUE_TYPES_APPLY_TO: Mapping[str, str] = {
    "classic": "classic_queues",
    "quorum": "quorum_queues",
    "stream": "streams",
}
"""What ``apply-to`` calls the queues of a type."""

APPLY_TO = ("all", "queues", "exchanges", *QUEUE_TYPES_APPLY_TO.values())


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy or an operator policy, as validated: whoever makes one goes through ``validate_policy``."""

    name: str
    pattern: str
    definition: Mapping[str, Any]
    priority: int | float = 0
    apply_to: str = "all"

    def is_for_queues(self, queue_type: str) -> bool:
        """Whether it is meant for queues of this type."""
        return self.apply_to in ("all", "queues") or self.apply_to == QUEUE_TYPES_APPLY_TO[queue_type]

    def is_for_exchanges(self) -> bool:
        """Whether it is meant for exchanges."""
        return self.apply_to in ("all", "exchanges")
