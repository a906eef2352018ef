"""Addresses as people write them: ``127.0.0.1:5672``, ``[::1]:5672``."""

from __future__ import annotations


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of an address that the configuration has checked."""
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def format_address(host: str, port: int) -> str:
    """Return host and port as one text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
