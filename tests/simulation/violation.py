"""What a simulation reports."""


class Violation(AssertionError):  # noqa: N818 - no error of the program that finds it
    """A promise was not kept."""


def demand(kept: bool, promise: str) -> None:
    """Report a promise that was not kept."""
    if not kept:
        raise Violation(promise)
