"""Watches the journals for what they do not end of: a full disk, and a disk that takes too long."""

from __future__ import annotations

import errno
from typing import Any

from broker.logs import get_logger

log = get_logger("disk")


class JournalWatch:
    """Watches one journal. ``check`` is called a few times a second."""

    def __init__(self, vhost: str, journal: Any, stall_warning_s: float) -> None:
        self._vhost = vhost
        self._journal = journal
        self._stall_warning_s = stall_warning_s
        self._stalled_s = 0.0
        self._out_of_room: Any = None

    def check(self) -> None:
        """Look at the journal, and log what has begun or ended."""
        self._check_stall()
        obstacle = None if self._journal.failed else self._journal.out_of_room
        if obstacle is not None and self._out_of_room is None:
            log.error(
                "disk full; publishers are blocked until there is room",
                vhost=self._vhost,
                file=str(obstacle.file),
                errno=errno.errorcode.get(obstacle.errno, obstacle.errno),
                reason=str(obstacle),
            )
        elif obstacle is None and self._out_of_room is not None:
            log.warning("there is room on the disk again", vhost=self._vhost)
        self._out_of_room = obstacle

    def retry(self) -> None:
        """Let the journal try again what it has put off, and see what has become too old to be kept."""
        if self._journal.obstacles:
            self._journal.retry()
        self._journal.reconsider()

    def save_room(self, low: bool) -> None:
        """Let the journal keep fewer spare files while the disk is nearly full."""
        self._journal.save_room(low)

    @property
    def taken_bytes(self) -> int:
        """How much room the files of the journal have taken since the start. For any thread."""
        taken_bytes: int = self._journal.taken_bytes
        return taken_bytes

    @property
    def out_of_room(self) -> bool:
        """Whether the journal finds no room for something."""
        return self._out_of_room is not None

    def problem(self) -> str | None:
        """Return why this journal confirms nothing just now, if so."""
        if self._journal.stuck and self._out_of_room is not None:
            return f"disk full: nothing is confirmed in vhost '{self._vhost}': {self._out_of_room}"
        in_flight_s = self._journal.in_flight_seconds
        if self._stalled_s and in_flight_s >= self._stall_warning_s:
            work = self._journal.in_flight_work
            return (
                f"disk stalled: nothing is confirmed in vhost '{self._vhost}': "
                f"{work} has taken {in_flight_s:.0f} s so far"
            )
        return None

    def _check_stall(self) -> None:
        in_flight_s = self._journal.in_flight_seconds
        # The next batch may be on its way already, so what counts is that the time has gone back.
        if self._stalled_s and in_flight_s < self._stalled_s:
            log.warning("disk stall has ended", vhost=self._vhost, seconds=round(self._stalled_s, 1))
            self._stalled_s = 0.0
        if in_flight_s >= self._stall_warning_s:
            if not self._stalled_s:
                log.error(
                    "disk stalled; nothing is confirmed meanwhile",
                    vhost=self._vhost,
                    work=self._journal.in_flight_work,
                    seconds=round(in_flight_s, 1),
                )
            self._stalled_s = in_flight_s


class JournalWatches:
    """Watches all journals."""

    def __init__(self) -> None:
        self._watches: list[JournalWatch] = []

    def add(self, watch: JournalWatch) -> None:
        """Watch one more."""
        self._watches.append(watch)

    def check(self) -> bool:
        """Look at all of them, and return whether one finds no room."""
        for watch in self._watches:
            watch.check()
        return any(watch.out_of_room for watch in self._watches)

    def retry(self) -> None:
        """Let them try again what they have put off, and see what has become too old to be kept."""
        for watch in self._watches:
            watch.retry()

    def save_room(self, low: bool) -> None:
        """Let them keep fewer spare files while the disk is nearly full."""
        for watch in self._watches:
            watch.save_room(low)

    def taken_bytes(self) -> int:
        """Return how much room all of them have taken since the start. For any thread."""
        return sum(watch.taken_bytes for watch in self._watches)

    def problem(self) -> str | None:
        """Return why a journal confirms nothing just now, if one does not."""
        return next(filter(None, (watch.problem() for watch in self._watches)), None)
