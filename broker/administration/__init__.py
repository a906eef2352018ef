"""The programming interface for those who look after a broker: what HTTP and the command line will use."""
