"""Benchmarks: the scenarios of docs/performance.md, Haypile and a peer in alternation."""
