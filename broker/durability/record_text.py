"""What the broker's records in a journal say, for people and for programs that look at one."""

from __future__ import annotations

from typing import Any

import msgspec

from broker.durability.definitions import decode, decode_seen
from broker.durability.queue_log import RECORD_KINDS, decode_publish, decode_return, decode_settle
from broker.routing.address import decode_address
from storage.survey import MARKS

KIND_NAMES = {kind: name for name, kind in RECORD_KINDS.items()} | MARKS


def kind_name(kind: int) -> str:
    """Return what a kind of records is called."""
    return KIND_NAMES.get(kind, f"kind {kind}")


def describe(kind: int, payload: bytes) -> dict[str, Any]:
    """Return what a record says; of one that cannot be understood, why."""
    try:
        return _describe(KIND_NAMES.get(kind), payload)
    except (ValueError, msgspec.MsgspecError) as error:
        return {"unreadable": str(error)}


def _describe(name: str | None, payload: bytes) -> dict[str, Any]:
    match name:
        case "publish" | "publish_timed" | "moved" | "moved_timed":
            targets, message = decode_publish(payload, name in ("publish_timed", "moved_timed"))
            exchange, routing_key = decode_address(message.address)
            said: dict[str, Any] = {
                "queues": [{"number": number, "position": position} for number, position in targets],
                "exchange": exchange,
                "routing_key": routing_key,
                "header_size": len(message.header),
                "body_size": len(message.body),
            }
            return said | ({"published_at_ms": message.published_at_ms} if message.published_at_ms else {})
        case "settle":
            number, delivered_position, ranges = decode_settle(payload)
            return {"queue": number, "delivered_position": delivered_position, "positions": [list(r) for r in ranges]}
        case "return":
            number, position, count, not_before_ms = decode_return(payload)
            return {"queue": number, "position": position, "delivery_count": count, "not_before_ms": not_before_ms}
        case "definition":
            return {"definition": msgspec.to_builtins(decode(payload))}
        case "seen":
            seen = decode_seen(payload)
            return {"owner": seen.owner, "keys": len(seen.keys)}
    return {}
