"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 40
PERIOD_S = 0.1


class ProgressBar:
    """Shows how much of something is done; ``show`` may be called as often as one likes."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._on = self._stream.isatty()
        self._shown_at = 0.0

    def show(self, done: int, size: int) -> None:
        """Draw the bar, unless it was drawn a moment ago."""
        now = time.monotonic()
        if not self._on or (done < size and now - self._shown_at < PERIOD_S):
            return
        self._shown_at = now
        filled = WIDTH * done // size if size else WIDTH
        share = 100 * done // size if size else 100
        self._stream.write(f"\r{self._label} [{'#' * filled}{' ' * (WIDTH - filled)}] {share:3} %")
        self._stream.flush()

    def clear(self) -> None:
        """Take the bar away."""
        if self._on:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
