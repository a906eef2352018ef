"""What events say about the objects that they are about, under RabbitMQ's names."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from broker.hooks.node import NODE
from broker.policy import Policy
from broker.queueing.arguments import queue_type
from broker.queueing.consumer import Consumer
from broker.queueing.queue import Queue
from broker.routing.exchange import Binding, Exchange

Described = Mapping[str, Any]

PROTOCOL_VERSION = "{0,9,1}"


def _queue_type(queue: Queue) -> str:
    return f"rabbit_{queue_type(queue.arguments)}_queue"


def queue_created(vhost: Any, queue: Queue) -> Described:
    """Return what queue.created says."""
    owner = queue.exclusive_owner
    return {
        "name": queue.name,
        "vhost": vhost.name,
        "type": _queue_type(queue),
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "arguments": dict(queue.arguments),
        "exclusive": owner is not None,
        "owner_pid": "" if owner is None else owner.name,
    }


def queue_deleted(vhost: Any, queue: Queue) -> Described:
    """Return what queue.deleted says."""
    return {"name": queue.name, "vhost": vhost.name, "type": _queue_type(queue)}


def exchange_created(vhost: Any, exchange: Exchange) -> Described:
    """Return what exchange.created says."""
    return {
        "name": exchange.name,
        "vhost": vhost.name,
        "type": exchange.type.name,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": dict(exchange.arguments),
    }


def exchange_deleted(vhost: Any, exchange: Exchange) -> Described:
    """Return what exchange.deleted says."""
    return {"name": exchange.name, "vhost": vhost.name}


def binding(vhost: Any, binding: Binding) -> Described:
    """Return what binding.created and binding.deleted say."""
    return {
        "source_name": binding.source.name,
        "source_kind": "exchange",
        "destination_name": binding.destination.name,
        "destination_kind": "exchange" if isinstance(binding.destination, Exchange) else "queue",
        "routing_key": binding.routing_key,
        "arguments": dict(binding.arguments),
        "vhost": vhost.name,
    }


def policy_set(vhost: Any, policy: Policy) -> Described:
    """Return what policy.set says."""
    return {
        "name": policy.name,
        "vhost": vhost.name,
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "priority": policy.priority,
        "definition": dict(policy.definition),
    }


def named(vhost: Any, name: str) -> Described:
    """Return what events say about something that has gone, and of which only the name is left."""
    return {"name": name, "vhost": vhost.name}


def vhost_created(vhost: Any) -> Described:
    """Return what vhost.created says."""
    return {"name": vhost.name, "tracing": vhost.tracing, "description": "", "tags": []}


def _address(name: str, address: Any) -> Described:
    if isinstance(address, tuple):
        return {f"{name}host": address[0], f"{name}port": address[1]}
    return {}


def connection_created(connection: Any) -> Described:
    """Return what connection.created says."""
    return {
        **_peers(connection),
        **connection_closed(connection),
        "type": "network",
        **_tls(connection),
        "protocol": PROTOCOL_VERSION,
        "auth_mechanism": connection.mechanism,
        "user": connection.user.name,
        "user_who_performed_action": connection.user.name,
        "vhost": connection.vhost.name,
        "timeout": connection.heartbeat_s,
        "frame_max": connection.frame_max,
        "channel_max": connection.channel_max,
        "connected_at": time.time_ns() // 1_000_000,
    }


def _tls(connection: Any) -> Described:
    if connection.tls is None:
        return {"ssl": False}
    return {"ssl": True, "ssl_protocol": connection.tls.version.lower(), "ssl_cipher": connection.tls.cipher}


def _peers(connection: Any) -> Described:
    local = connection.transport.get_extra_info("sockname")
    return {**_address("", local), **_address("peer_", connection.peer)}


def connection_closed(connection: Any) -> Described:
    """Return what connection.closed says."""
    said = {
        "name": connection.name,
        "pid": connection.name,
        "node": NODE,
        "client_properties": connection.client_properties,
    }
    name = connection.client_properties.get("connection_name")
    return {**said, "user_provided_name": name} if isinstance(name, str) else said


def authentication(connection: Any, username: str, mechanism: str, error: str) -> Described:
    """Return what user.authentication.success and user.authentication.failure say."""
    said = {
        "connection_type": "network",
        "name": username,
        "connection_name": connection.name,
        **_peers(connection),
        "protocol": PROTOCOL_VERSION,
        "auth_mechanism": mechanism,
        "ssl": connection.tls is not None,
    }
    return {**said, "error": error} if error else said


def channel_name(channel: Any) -> str:
    """Return RabbitMQ's name of a channel."""
    return f"{channel.connection.name} ({channel.number})"


def channel_created(channel: Any) -> Described:
    """Return what channel.created says."""
    user = channel.connection.user.name
    return {
        "name": channel_name(channel),
        "pid": channel_name(channel),
        "connection": channel.connection.name,
        "number": channel.number,
        "user": user,
        "vhost": channel.vhost.name,
        "user_who_performed_action": user,
    }


def channel_closed(channel: Any) -> Described:
    """Return what channel.closed says."""
    return {
        "pid": channel_name(channel),
        "name": channel_name(channel),
        "consumer_count": len(channel.consumers),
        "user_who_performed_action": channel.connection.user.name,
    }


def consumer_created(vhost: Any, consumer: Consumer) -> Described:
    """Return what consumer.created says."""
    return {
        **consumer_deleted(vhost, consumer),
        "exclusive": consumer.exclusive,
        "ack_required": not consumer.no_ack,
        "prefetch_count": consumer.prefetch_count,
        "arguments": dict(consumer.arguments),
    }


def consumer_deleted(vhost: Any, consumer: Consumer) -> Described:
    """Return what consumer.deleted says."""
    return {
        "consumer_tag": consumer.tag,
        "channel": channel_name(consumer.target),
        "queue": consumer.queue.name,
        "vhost": vhost.name,
    }


def alarm(source: str) -> Described:
    """Return what alarm.set and alarm.cleared say."""
    return {"source": source, "node": NODE}
