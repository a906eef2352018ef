"""Addresses as people write them: ``127.0.0.1:5672``, ``[::1]:5672``."""

from __future__ import annotations

from typing import Any


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of an address that the configuration has checked."""
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def format_address(host: str, port: int) -> str:
    """Return host and port as one text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def format_endpoint(name: Any) -> str:
    """Return a socket's own or peer name as one text; that of a Unix socket may be empty."""
    return format_address(*name[:2]) if isinstance(name, tuple) else str(name or "unix")
