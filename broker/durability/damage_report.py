"""What the broker says about damage in its journals: in the log once, and in metrics and health as long as it runs."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

from broker.logs import get_logger
from storage.damage import Damage, quarantine_directory

log = get_logger("vhost")

LOGGED_MAX = 100
"""Each place is logged up to here; a disk that lost a million records need not be read about a million times."""


class DamageReport:
    """Counts the damage in one journal. The scrubber adds to it from its own thread."""

    def __init__(self, vhost: str) -> None:
        self.damage_count = 0
        self.lost_record_count = 0
        self.scrub_damage_count = 0
        self.unread_message_count = 0
        self.rewritten_message_count = 0
        self.at_start: Sequence[Damage] = ()
        self._vhost = vhost
        self._lock = Lock()

    def found_at_start(self, damages: Sequence[Damage]) -> None:
        """Report what a start has passed over and put into the quarantine."""
        self.at_start = damages
        self.damage_count += len(damages)
        self.lost_record_count += sum(damage.count for damage in damages)
        for damage in damages[:LOGGED_MAX]:
            self._log("journal damaged; the log goes on behind it", damage)
        if len(damages) > LOGGED_MAX:
            log.error("journal damaged in more places", vhost=self._vhost, places=len(damages) - LOGGED_MAX)

    def found_by_scrubber(self, damage: Damage) -> None:
        """Report what the scrubber has found; nothing was done about it."""
        with self._lock:
            self.scrub_damage_count += 1
        if self.scrub_damage_count <= LOGGED_MAX:
            self._log("scrubber found damage", damage)

    def found_on_reading(self, **what: Any) -> None:
        """Report a message that has left its queue because its record cannot be read, as ``what`` says."""
        self.unread_message_count += 1
        if self.unread_message_count <= LOGGED_MAX:
            log.error("message quarantined: its record cannot be read", vhost=self._vhost, **what)
        elif self.unread_message_count == LOGGED_MAX + 1:
            log.error("more messages are quarantined; the metrics count them", vhost=self._vhost)

    def found_in_time(self, count: int, **where: Any) -> None:
        """Report that records were damaged whose messages were in memory, and are in others now."""
        self.rewritten_message_count += count
        log.error(
            "journal damaged; its messages were in memory and have been written again",
            vhost=self._vhost,
            messages=count,
            **where,
        )

    def _log(self, event: str, damage: Damage) -> None:
        log.error(
            event,
            vhost=self._vhost,
            case=damage.case.name,
            file=str(damage.path),
            offset=damage.offset,
            size=damage.size,
            sequence=damage.sequence or None,
            records_lost=damage.count or None,
            reason=damage.detail,
            quarantine=str(quarantine_directory(damage.path.parent)),
        )

    def summary(self) -> str | None:
        """Say in words what was found, or None if nothing was."""
        words = []
        if self.damage_count:
            words.append(f"{self.damage_count} damaged places found at the start")
        if self.unread_message_count:
            words.append(f"{self.unread_message_count} messages quarantined")
        if self.rewritten_message_count:
            words.append(f"{self.rewritten_message_count} messages written again in time")
        if self.scrub_damage_count:
            words.append(f"{self.scrub_damage_count} found by the scrubber")
        return f"journal of vhost '{self._vhost}': {', '.join(words)}" if words else None
