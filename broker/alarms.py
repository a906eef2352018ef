"""The alarms: what the broker is short of, so that publishers have to wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Alarm(Protocol):
    """One resource that can be short. ``source`` is its name in RabbitMQ's words: "memory" or "disk"."""

    source: str
    is_set: bool

    def check(self) -> bool:
        """Look, and return whether the alarm has changed."""

    def describe(self) -> dict[str, Any]:
        """Return the figures for the log."""


class Alarms:
    """All alarms of a broker. As long as one is set, publishers are blocked."""

    def __init__(self, alarms: Sequence[Alarm]) -> None:
        # In the order in which RabbitMQ names them to publishers.
        self._alarms = sorted(alarms, key=lambda alarm: alarm.source)

    @property
    def is_set(self) -> bool:
        """Whether publishers are blocked."""
        return any(alarm.is_set for alarm in self._alarms)

    def check(self) -> list[Alarm]:
        """Look at all of them, and return those that have changed."""
        return [alarm for alarm in self._alarms if alarm.check()]

    def reason(self) -> str:
        """Return why publishers are blocked, in RabbitMQ's words."""
        return "low on " + " & ".join(self._sources())

    def summary(self) -> str:
        """Return the same for ``/health``; empty if no alarm is set."""
        sources = self._sources()
        if not sources:
            return ""
        return f"{' and '.join(sources)} alarm{'s' if len(sources) > 1 else ''}: publishers are blocked"

    def _sources(self) -> list[str]:
        return [alarm.source for alarm in self._alarms if alarm.is_set]
