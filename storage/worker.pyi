class Worker:
    """A thread that works without the interpreter's lock."""

    def start(self) -> None:
        """Start the thread."""
    def stop(self) -> None:
        """End the thread after what it has in hand, and wait for that."""
