"""The class queue (specification, section 1.7)."""

from collections.abc import Callable
from functools import partial
from typing import Any

from broker.equivalence import OWN_ARGUMENTS, QUEUE_ARGUMENTS, check_argument, check_flag
from broker.hooks import queue_arguments
from broker.queueing.arguments import OWN_PREFIX, check_queue_arguments, check_queue_properties, queue_type
from broker.queueing.queue import Queue
from broker.routing.exchange import Binding
from broker.routing.exchange_type import InvalidDefinitionError
from broker.session import direct_reply
from broker.session.names import (
    RESERVED_PREFIX,
    check_permission,
    clean,
    exchange_resource,
    generate,
    queue_resource,
    refuse_default_exchange,
)
from protocol.amqp.errors import access_refused, not_found, not_implemented, precondition_failed, resource_locked
from protocol.amqp.methods import (
    QueueBind,
    QueueBindOk,
    QueueDeclare,
    QueueDeclareOk,
    QueueDelete,
    QueueDeleteOk,
    QueuePurge,
    QueuePurgeOk,
    QueueUnbind,
    QueueUnbindOk,
)

GENERATED_PREFIX = "amq.gen"
NAME_PREFIX_ARGUMENT = "x-name-prefix"
NAME_PREFIX_SIZE_MAX_BYTES = 64


def declare(channel: Any, method: QueueDeclare) -> None:
    """Declare a queue, or check that it is there and means the same."""
    vhost = channel.vhost
    name = clean(method.queue)
    batch = 0
    if name.startswith(direct_reply.PSEUDO_QUEUE):
        _declare_reply_queue(channel, name, method.nowait)
        return
    if method.passive:
        queue = vhost.find_queue(name)
        check_exclusive_access(channel, queue)
        queue.touch()
    else:
        arguments = {
            argument: value for argument, value in method.arguments.items() if not argument.startswith(OWN_PREFIX)
        }
        if name == "":
            name = generate(_name_prefix(arguments))
            while name in vhost.queues:
                name = generate(GENERATED_PREFIX)
        elif name.startswith(RESERVED_PREFIX):
            raise access_refused(f"queue name '{name}' contains reserved prefix 'amq.*'")
        resource = queue_resource(channel, name)
        check_permission(channel, "configure", resource, name)
        # An exclusive queue goes with its connection, so it is never durable, as in RabbitMQ.
        durable = method.durable and not method.exclusive
        queue = vhost.look_up_queue(name)
        if queue is not None:
            if method.exclusive != (queue.exclusive_owner is not None):
                raise _locked(channel, queue)
            check_exclusive_access(channel, queue)
            check_flag("durable", resource, durable, queue.durable)
            check_flag("auto_delete", resource, method.auto_delete, queue.auto_delete)
            queue.touch()
            for argument in (*QUEUE_ARGUMENTS, *OWN_ARGUMENTS, *queue_arguments.CHECKS):
                check_argument(argument, resource, arguments, queue.arguments)
        else:
            check_queue_arguments(arguments, resource)
            queue_arguments.check_extension_arguments(arguments, resource)
            _check_dead_letter_exchange(channel, arguments, resource, name)
            check_queue_properties(
                queue_type(arguments),
                resource,
                durable=durable,
                auto_delete=method.auto_delete,
                exclusive=method.exclusive,
            )
            queue, batch = vhost.declare_queue(
                name,
                durable=durable,
                auto_delete=method.auto_delete,
                owner=channel.connection if method.exclusive else None,
                arguments=arguments,
            )
    vhost.counters.queues_declared += 1
    channel.last_queue_name = name
    if not method.nowait:
        ok = QueueDeclareOk(queue=name, message_count=queue.ready_count(), consumer_count=len(queue.consumers))
        channel.reply(ok, batch)


def _declare_reply_queue(channel: Any, name: str, nowait: bool) -> None:
    # Such a declaration is always passive, and what exists has one consumer.
    if name != direct_reply.PSEUDO_QUEUE and name not in channel.vhost.reply_queues:
        raise not_found(f"no {queue_resource(channel, name)}")
    channel.last_queue_name = name
    if not nowait:
        channel.reply(QueueDeclareOk(queue=name, message_count=0, consumer_count=1))


def _check_dead_letter_exchange(channel: Any, arguments: dict[str, Any], resource: str, name: str) -> None:
    exchange = arguments.get("x-dead-letter-exchange")
    if exchange is not None:
        check_permission(channel, "read", resource, name)
        check_permission(channel, "write", exchange_resource(channel, exchange), exchange)


def _name_prefix(arguments: dict[str, Any]) -> str:
    prefix = arguments.pop(NAME_PREFIX_ARGUMENT, GENERATED_PREFIX)
    if not isinstance(prefix, str) or not prefix:
        return GENERATED_PREFIX
    if len(prefix.encode()) > NAME_PREFIX_SIZE_MAX_BYTES:
        raise precondition_failed(f"Queue name prefix '{prefix}' exceeds the {NAME_PREFIX_SIZE_MAX_BYTES}-byte limit")
    return prefix


def _locked(channel: Any, queue: Queue) -> Exception:
    return resource_locked(
        f"cannot obtain exclusive access to locked {queue_resource(channel, queue.name)}. "
        "It could be originally declared on another connection or the exclusive property value "
        "does not match that of the original declaration."
    )


def check_exclusive_access(channel: Any, queue: Queue) -> None:
    """Refuse a queue that another connection has exclusively."""
    if queue.exclusive_owner is not None and queue.exclusive_owner is not channel.connection:
        raise _locked(channel, queue)


def named_queue(channel: Any, name: str) -> str:
    """Return the name that a method means: an empty one is that of the queue declared last on the channel."""
    name = clean(name)
    if name:
        return name
    last: str | None = channel.last_queue_name
    if last is None:
        raise not_found("no previously declared queue")
    return last


def _binding_key(method: QueueBind | QueueUnbind, queue_name: str) -> str:
    # Where neither queue nor routing key is named, the queue's name is the key (specification, queue.bind).
    return queue_name if not method.queue and not method.routing_key else method.routing_key


def _binding(channel: Any, method: QueueBind | QueueUnbind) -> tuple[str, str, str]:
    queue_name, exchange_name = named_queue(channel, method.queue), clean(method.exchange)
    direct_reply.refuse_binding(queue_name)
    refuse_default_exchange(exchange_name)
    check_permission(channel, "write", queue_resource(channel, queue_name), queue_name)
    check_permission(channel, "read", exchange_resource(channel, exchange_name), exchange_name)
    return queue_name, exchange_name, _binding_key(method, queue_name)


def bind(channel: Any, method: QueueBind) -> None:
    """Bind a queue to an exchange."""
    queue_name, exchange_name, key = _binding(channel, method)
    exchange = channel.vhost.find_exchange(exchange_name)
    queue = channel.vhost.find_queue(queue_name)
    check_exclusive_access(channel, queue)
    try:
        batch = channel.vhost.bind(Binding(exchange, queue, key, dict(method.arguments)))
    except InvalidDefinitionError as error:
        raise precondition_failed(str(error)) from None
    if not method.nowait:
        channel.reply(QueueBindOk(), batch)


def unbind(channel: Any, method: QueueUnbind) -> None:
    """Remove a binding; one that is not there is removed already."""
    queue_name, exchange_name, key = _binding(channel, method)
    exchange, queue = channel.vhost.exchanges.get(exchange_name), channel.vhost.look_up_queue(queue_name)
    batch = 0
    if exchange is not None and queue is not None:
        binding = Binding(exchange, queue, key, dict(method.arguments))
        if binding in exchange.bindings:
            check_exclusive_access(channel, queue)
            batch = channel.vhost.unbind(binding)
    channel.reply(QueueUnbindOk(), batch)


def purge(channel: Any, method: QueuePurge) -> None:
    """Drop the ready messages of a queue."""
    name = named_queue(channel, method.queue)
    check_permission(channel, "read", queue_resource(channel, name), name)
    queue = channel.vhost.find_queue(name)
    check_exclusive_access(channel, queue)
    if method.nowait:
        queue.purge()
        return
    reply = channel.reply_later()
    count = 0

    def settled() -> None:
        # What was purged must not come back, so the journal has to have it.
        channel.vhost.journal.write_settled()
        reply.resolve(
            lambda: channel.send_method(QueuePurgeOk(message_count=count)), channel.vhost.journal.journal.pending_batch
        )

    # A lambda in its place would have "settled" refer to itself: when compiled, all that is nested here shares a scope.
    count = queue.purge(partial(channel.vhost.turn.want_step, settled))


def delete(channel: Any, method: QueueDelete) -> None:
    """Delete a queue; one that is not there is deleted already."""
    vhost = channel.vhost
    name = named_queue(channel, method.queue)
    resource = queue_resource(channel, name)
    check_permission(channel, "configure", resource, name)
    queue = vhost.look_up_queue(name)
    count, batch = 0, 0
    if queue is not None:
        check_exclusive_access(channel, queue)
        for flag, is_set in (("if-unused", method.if_unused), ("if-empty", method.if_empty)):
            if is_set and queue_type(queue.arguments) == "quorum":
                raise not_implemented(
                    f"cannot delete {resource}. queue.delete operations with {flag} flag set "
                    "are not supported by quorum queues"
                )
        if method.if_empty and queue.ready_count():
            raise precondition_failed(f"{resource} not empty")
        if method.if_unused and queue.consumers:
            raise precondition_failed(f"{resource} in use")
        count, batch = vhost.delete_queue(queue)
    if not method.nowait:
        channel.reply(QueueDeleteOk(message_count=count), batch)


HANDLERS: dict[Any, Callable[[Any, Any], None]] = {
    QueueDeclare: declare,
    QueueBind: bind,
    QueueUnbind: unbind,
    QueuePurge: purge,
    QueueDelete: delete,
}
