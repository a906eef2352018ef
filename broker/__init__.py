"""The broker: the living state (virtual hosts, exchanges, queues, sessions) and the daemon around it."""
