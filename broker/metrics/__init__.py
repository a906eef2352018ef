"""Counters, the Prometheus end point and the health check."""
