"""A client's session: connection, handshake, channels and their methods."""
