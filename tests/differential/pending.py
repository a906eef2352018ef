"""What is wrong today: scenarios in which Haypile differs from RabbitMQ though it should not.

Each is a scenario that shows a fault, as ``group: scenario``, and the fault; a name that ends with ``*`` stands for all
that begin so. They are expected to fail, and strictly: a fault that is mended has to be taken off the list.
"""

UNBLOCKED = (
    "a consumer that was passed over because it was full keeps its place; RabbitMQ puts it behind all others again"
)

PENDING = {
    "consuming: turns after a consumer was full and was passed over 1 times": UNBLOCKED,
    "consuming: turns after a consumer was full and was passed over 2 times": UNBLOCKED,
    "consuming: turns after a consumer was full and was passed over 3 times": UNBLOCKED,
}


def matches(pattern: str, name: str) -> bool:
    """Whether a name of the list means this scenario or generator."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def pending_fault(name: str) -> str | None:
    """The fault that this scenario or generator shows."""
    return next((fault for pattern, fault in PENDING.items() if matches(pattern, name)), None)
