"""What a simulation reports."""


class Violation(AssertionError):
    """A promise was not kept."""


def demand(kept: bool, promise: str) -> None:
    """Report a promise that was not kept."""
    if not kept:
        raise Violation(promise)
