"""The pattern of a policy: a regular expression that is looked for anywhere in a name."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

from broker.policy.automaton import Automaton, UnsupportedError, is_simple

PATTERN_BYTES_MAX = 1024


class InvalidPatternError(ValueError):
    """A text that is no regular expression; the words are RabbitMQ's, from after the name of the term."""


class Pattern:
    """A compiled pattern. As in RabbitMQ it works on octets: a class like ``\\w`` knows ASCII only.

    Names come from clients, and patterns are tried on all of them: what ``re`` might take too long for goes to an
    automaton.
    """

    __slots__ = ("_is_found_in",)

    def __init__(self, text: str) -> None:
        octets = text.encode("utf-8", "surrogateescape")
        if len(octets) > PATTERN_BYTES_MAX:
            raise InvalidPatternError(f"must not exceed {PATTERN_BYTES_MAX} bytes")
        try:
            with warnings.catch_warnings():
                # What Python warns about, such as "[[:alpha:]]", means something else in other dialects.
                warnings.simplefilter("error")
                search = re.compile(octets).search
                automaton = Automaton(octets)
        except UnsupportedError as error:
            raise _invalid(str(error), 0) from None
        except re.error as error:
            raise _invalid(error.msg, error.pos or 0) from None
        except (FutureWarning, DeprecationWarning) as warning:
            raise _invalid(str(warning), 0) from None
        except (OverflowError, RecursionError):
            raise _invalid("regular expression is too large", 0) from None
        self._is_found_in: Callable[[bytes], object] = search if is_simple(octets) else automaton.is_found_in

    def matches(self, name: str) -> bool:
        """Whether the pattern is found in a name."""
        found = self._is_found_in(name.encode("utf-8", "surrogateescape"))
        return found is not None and found is not False


def _invalid(reason: str, position: int) -> InvalidPatternError:
    return InvalidPatternError(f'should be regular expression but is invalid: {{"{reason}",{position}}}')
