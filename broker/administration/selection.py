"""Choosing messages of a queue, without taking them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.queueing.message import Message
from broker.queueing.queue import Queue
from broker.queueing.ready import PagedMessage
from protocol.amqp.properties import NAMES, BasicProperties, decode_properties

SCANNED_MAX = 10_000
"""How many messages are looked at in one call, whether they are chosen or not."""

CHOSEN_MAX = 1_000
"""How many messages are chosen in one call."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a message has to have: these values of properties, and these headers. Empty, it lets every message pass.

    Raises ``ValueError`` for a property that AMQP does not have.
    """

    properties: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.properties) - set(NAMES)
        if unknown:
            raise ValueError(f"unknown property {sorted(unknown)[0]!r}; there are {', '.join(NAMES)}")

    def matches(self, properties: BasicProperties) -> bool:
        """Return whether a message with these properties is meant."""
        headers = properties.headers or {}
        return all(getattr(properties, name) == value for name, value in self.properties.items()) and all(
            name in headers and headers[name] == value for name, value in self.headers.items()
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """A message of a queue. ``not_before_ms`` is the time for which it waits, 0 for one that is ready."""

    position: int
    message: Message
    redelivered: bool
    properties: BasicProperties
    not_before_ms: int = 0


def paged_positions(queue: Queue, from_position: int, count_max: int, *, waiting: bool) -> list[int]:
    """Return which of the messages that ``choose`` would look at are paged out."""
    entries = (queue.waiting_entries if waiting else queue.entries)(from_position, count_max)
    return [entry[0] for entry in entries if isinstance(entry[1], PagedMessage)]


def choose(
    queue: Queue,
    *,
    from_position: int = 0,
    count_max: int = CHOSEN_MAX,
    matching: Filter | None = None,
    waiting: bool = False,
) -> tuple[list[Chosen], int | None]:
    """Return messages of a queue by position, and the position to go on from, None at the end of the queue.

    Those that are ready are looked at, or (``waiting``) those that wait for their time. What is with a consumer cannot
    be chosen, and what is paged out has to be brought in before (``paged_positions``). Nothing about the messages
    changes.
    """
    count_max = min(count_max, CHOSEN_MAX)
    if waiting:
        entries = queue.waiting_entries(from_position, SCANNED_MAX + 1)
    else:
        entries = [(*entry, 0) for entry in queue.entries(from_position, SCANNED_MAX + 1)]
    chosen: list[Chosen] = []
    for index, (position, message, redelivered, not_before_ms) in enumerate(entries):
        if len(chosen) == count_max or index == SCANNED_MAX or isinstance(message, PagedMessage):
            return chosen, position
        properties = decode_properties(message.header)
        if matching is None or matching.matches(properties):
            chosen.append(Chosen(position, message, redelivered, properties, not_before_ms))
    return chosen, None
