"""Wire protocols: bytes to meaning and back. No sockets, no clock, no queues."""
