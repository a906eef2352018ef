"""The pattern of a policy: a regular expression that is looked for anywhere in a name."""

from __future__ import annotations

import re
import warnings

PATTERN_BYTES_MAX = 1024


class InvalidPatternError(ValueError):
    """A text that is no regular expression; the words are RabbitMQ's, from after the name of the term."""


class Pattern:
    """A compiled pattern. As in RabbitMQ it works on octets: a class like ``\\w`` knows ASCII only."""

    __slots__ = ("_search",)

    def __init__(self, text: str) -> None:
        octets = text.encode("utf-8", "surrogateescape")
        if len(octets) > PATTERN_BYTES_MAX:
            raise InvalidPatternError(f"must not exceed {PATTERN_BYTES_MAX} bytes")
        try:
            with warnings.catch_warnings():
                # What Python warns about, such as "[[:alpha:]]", means something else in other dialects.
                warnings.simplefilter("error")
                self._search = re.compile(octets).search
        except re.error as error:
            raise _invalid(error.msg, error.pos or 0) from None
        except (FutureWarning, DeprecationWarning) as warning:
            raise _invalid(str(warning), 0) from None
        except (OverflowError, RecursionError):
            raise _invalid("regular expression is too large", 0) from None

    def matches(self, name: str) -> bool:
        """Whether the pattern is found in a name."""
        return self._search(name.encode("utf-8", "surrogateescape")) is not None


def _invalid(reason: str, position: int) -> InvalidPatternError:
    return InvalidPatternError(f'should be regular expression but is invalid: {{"{reason}",{position}}}')
