"""Messages that wait on disk: which leave memory when it is short, and how they come back when it is their turn."""
