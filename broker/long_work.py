"""Work that is too much for one turn of the event loop: so much of it in each turn, and no more."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from broker.turn import Turn


class LongWork(Protocol):
    """Something that is done in slices."""

    is_finished: bool

    def go_on(self, count_max: int) -> int:
        """Do up to so much, and return how much it was."""
        raise NotImplementedError


class LongWorks:
    """What is being done in slices: one turn allows ``per_turn_max`` of it for all together.

    While others wait, ``share_of_one_max`` of that is for one, so that a small work comes through beside large ones.
    """

    def __init__(self, turn: Turn, per_turn_max: int, share_of_one_max: int) -> None:
        self.per_turn_max = per_turn_max
        self._share_of_one_max = share_of_one_max
        self._turn = turn
        self._pending: deque[LongWork] = deque()
        self._left = per_turn_max

    def add(self, work: LongWork) -> None:
        """Do a work: at once as far as this turn goes, and the rest in later ones."""
        self._pending.append(work)
        self._turn.want_step(self._go_on)
        if len(self._pending) == 1 and self._left > 0:
            self._take_next()

    def finish(self) -> None:
        """Do now what is left of all of them."""
        while self._pending:
            self._left = self.per_turn_max
            self._take_next()

    def _go_on(self) -> None:
        self._left = self.per_turn_max
        try:
            while self._pending and self._left > 0:
                self._take_next()
        finally:
            # Should one fail, the others go on all the same.
            if self._pending:
                self._turn.want_step(self._go_on)

    def _take_next(self) -> None:
        work = self._pending.popleft()
        share = min(self._left, self._share_of_one_max) if self._pending else self._left
        try:
            self._left -= work.go_on(share)
        finally:
            if not work.is_finished:
                self._pending.append(work)


class OneByOne:
    """Works of which one has to be finished before the next begins, and of which one turn allows ``per_turn_max``.

    After one that has taken several turns the next one waits for another: in between, what only one of them can have is
    free for others.
    """

    def __init__(self, turn: Turn, per_turn_max: int) -> None:
        self.per_turn_max = per_turn_max
        self._turn = turn
        self._pending: deque[LongWork] = deque()
        self._left = per_turn_max
        self._is_begun = False

    def add(self, work: LongWork) -> None:
        """Do a work: at once as far as this turn goes, and the rest in later ones."""
        self._pending.append(work)
        self._turn.want_step(self._go_on)
        if len(self._pending) == 1 and self._left > 0:
            self._take_first()

    def finish(self) -> None:
        """Do now what is left of all of them."""
        while self._pending:
            self._left = self.per_turn_max
            self._take_first()

    def _go_on(self) -> None:
        self._left = self.per_turn_max
        try:
            while self._pending and self._left > 0:
                was_begun = self._is_begun
                self._take_first()
                if was_begun:
                    break
        finally:
            if self._pending:
                self._turn.want_step(self._go_on)

    def _take_first(self) -> None:
        work = self._pending[0]
        try:
            self._left -= work.go_on(self._left)
        finally:
            self._is_begun = not work.is_finished
            if work.is_finished:
                self._pending.popleft()
