"""The interpreter's garbage collector, kept from holding up the event loop.

A full collection looks at all that there is: with 100,000 queues it takes a tenth of a second and more. But what is
used for long in a broker leaves no cycles behind when it goes (a test keeps it so), and messages take no part in
collections at all. So only what has come since is looked at, and what is still there after the second look is not
looked at again.
"""

import gc
from typing import Any

YOUNG_OBJECTS_MAX = 10_000
"""So many new objects make a collection of these. It takes about a millisecond."""

COLLECTIONS_OF_YOUNG_MAX = 5
"""After so many of them, those that survived are looked at once more."""

FULL_COLLECTIONS = 1 << 30
"""There is none: the old generation is always empty."""

MIDDLE_GENERATION = 1


def load() -> None:
    """Collect nothing while the state of a broker is read, which takes in a lot and leaves no garbage."""
    gc.disable()


def serve() -> None:
    """Collect what is left of the start, and from then on as little at a time as can be."""
    gc.freeze()
    gc.callbacks.append(_freeze_survivors)
    gc.set_threshold(YOUNG_OBJECTS_MAX, COLLECTIONS_OF_YOUNG_MAX, FULL_COLLECTIONS)
    gc.enable()


def _freeze_survivors(phase: str, info: dict[str, Any]) -> None:
    if phase == "stop" and info["generation"] >= MIDDLE_GENERATION:
        gc.freeze()
