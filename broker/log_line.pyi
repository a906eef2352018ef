"""A line of the log as JSON, and the time in it."""

from typing import Any

class Clock:
    """The time in UTC as logs have it."""

    def now(self) -> str:
        """Return the time."""

class JsonLines:
    """The processor of structlog that makes a line of what is logged: all there is to do, so that it is done at once.

    A line is what ``json.dumps`` makes of the fields, without those that are None.
    """

    def __call__(self, _logger: Any, level: str, entry: dict[str, Any]) -> str:
        """Return the line."""
