"""Extensions: what other installed distributions offer to the broker, by entry points.

Each kind of extension has a group of entry points. Whoever knows what a group is for loads it, once, when the broker
starts; an extension that cannot be loaded stops the start, so that nothing is served with half of what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

EXCHANGE_TYPES = "haypile.exchange_types"
INTERCEPTORS = "haypile.interceptors"
QUEUE_ARGUMENTS = "haypile.queue_arguments"
AUTHENTICATION = "haypile.authentication"

T = TypeVar("T")


class ExtensionError(Exception):
    """An extension that cannot be used; its text names the distribution, the extension and the reason."""


@dataclass(frozen=True)
class Extension:
    """One entry point: ``name = "module:attribute"`` in ``[project.entry-points."group"]`` of a distribution."""

    group: str
    name: str
    distribution: str
    entry_point: EntryPoint

    def load(self) -> object:
        """Import the object that the entry point refers to; raises ``ExtensionError`` where that fails."""
        try:
            return self.entry_point.load()
        except Exception as error:
            # Foreign code runs here, which can fail in any way; whose it is must be said in each case.
            raise self.error(f"cannot load '{self.entry_point.value}': {type(error).__name__}: {error}") from error

    def load_subclass(self, base: type[T]) -> type[T]:
        """Import a class that has to be a subclass of ``base``; raises ``ExtensionError`` where it is not."""
        loaded = self.load()
        if not isinstance(loaded, type) or not issubclass(loaded, base):
            raise self.error(f"{loaded!r} is not a subclass of {base.__module__}.{base.__name__}")
        return loaded

    def make(self, kind: type[T]) -> T:
        """Return an object of a class that was loaded; raises ``ExtensionError`` where that fails."""
        try:
            return kind()
        except Exception as error:
            # As above.
            raise self.error(f"cannot make a {kind.__name__}: {type(error).__name__}: {error}") from error

    def error(self, reason: str) -> ExtensionError:
        """Return what is wrong with this extension, for its user."""
        return ExtensionError(f"extension '{self.name}' ({self.group}) of {self.distribution}: {reason}")


def find_extensions(group: str) -> Iterator[Extension]:
    """Return the extensions of a group in the order of their names; two must not have the same name.

    Raises ``ExtensionError`` for the second one of a name.
    """
    previous: Extension | None = None
    extensions = [Extension(group, entry.name, _distribution(entry), entry) for entry in entry_points(group=group)]
    for extension in sorted(extensions, key=lambda extension: (extension.name, extension.distribution)):
        if previous is not None and previous.name == extension.name:
            raise extension.error(f"{previous.distribution} has one of the same name")
        yield extension
        previous = extension


def _distribution(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    return "an unknown distribution" if distribution is None else f"{distribution.name} {distribution.version}"
