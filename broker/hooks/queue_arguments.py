"""Arguments of queue.declare that installed distributions give a meaning to: here, that their values are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from broker import extensions
from broker.equivalence import QUEUE_ARGUMENTS
from broker.logs import get_logger
from broker.queueing.arguments import OWN_PREFIX, UNSUPPORTED_ARGUMENTS, VALIDATORS, invalid_argument

log = get_logger("hooks")

BUILT_IN = frozenset((*VALIDATORS, *chain(*UNSUPPORTED_ARGUMENTS.values()), *QUEUE_ARGUMENTS, "x-name-prefix"))

CHECKS: dict[str, Callable[[Any], object]] = {}
"""What checks a value, by the name of the argument: it raises ``ValueError`` with a text for the client."""


def load_extensions() -> None:
    """Take in the checks of installed distributions; raises ``broker.extensions.ExtensionError``."""
    CHECKS.clear()
    for extension in extensions.find_extensions(extensions.QUEUE_ARGUMENTS):
        if extension.name in BUILT_IN or extension.name.startswith(OWN_PREFIX):
            raise extension.error("arguments that are built in cannot be replaced")
        loaded = extension.load()
        if not callable(loaded):
            raise extension.error(f"{loaded!r} cannot be called with a value")
        CHECKS[extension.name] = loaded
        log.info("extension loaded", queue_argument=extension.name, distribution=extension.distribution)


def check_extension_arguments(arguments: Mapping[str, Any], resource: str) -> None:
    """Raise ``ChannelException`` (PRECONDITION_FAILED) for an argument that an extension refuses."""
    for name, check in CHECKS.items():
        if name in arguments:
            try:
                check(arguments[name])
            except ValueError as error:
                raise invalid_argument(name, resource, error) from None
