"""Dead-lettering: what becomes of messages that leave a queue without having been acknowledged."""
