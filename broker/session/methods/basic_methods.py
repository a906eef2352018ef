"""The class basic (specification, section 1.8), as far as it is not on the fast path."""

from collections.abc import Callable
from typing import Any

from broker.policy import values
from broker.queueing.arguments import invalid_argument, queue_type
from broker.queueing.consumer import Consumer
from broker.session import direct_reply
from broker.session.consumer_timeouts import TIMEOUT_ARGUMENT
from broker.session.methods.queue_methods import check_exclusive_access, named_queue
from broker.session.names import check_permission, generate, queue_resource
from protocol.amqp.errors import access_refused, not_allowed, not_implemented, precondition_failed, resource_locked
from protocol.amqp.methods import (
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicGet,
    BasicQos,
    BasicQosOk,
    BasicRecover,
    BasicRecoverAsync,
    BasicRecoverOk,
)

GENERATED_TAG_PREFIX = "amq.ctag"
_ARGUMENTS: dict[str, values.Check] = {"x-priority": values.integer, TIMEOUT_ARGUMENT: values.not_negative}


def qos(channel: Any, method: BasicQos) -> None:
    """Set a prefetch count.

    As in RabbitMQ, ``global`` means the channel, and without it the consumers that come.
    """
    if method.prefetch_size:
        raise not_implemented(f"prefetch_size!=0 ({method.prefetch_size})")
    if method.global_:
        channel.global_prefetch_count = method.prefetch_count
        channel.wake_consumers()
    else:
        channel.prefetch_count = method.prefetch_count
        if channel.global_prefetch_count:
            channel.global_prefetch_count = 0
            channel.wake_consumers()
    channel.reply(BasicQosOk())


def consume(channel: Any, method: BasicConsume) -> None:
    """Start a consumer. ``no_local`` is accepted and has no effect, as in RabbitMQ."""
    tag = method.consumer_tag or generate(GENERATED_TAG_PREFIX)
    if method.queue == direct_reply.PSEUDO_QUEUE:
        if channel.reply_queue is None:
            _refuse_known_tag(channel, tag)
        consumer = direct_reply.consume(channel, tag, no_ack=method.no_ack)
    else:
        consumer = _new_consumer(channel, method, tag)
    queue = consumer.queue
    channel.consumers[tag] = consumer
    if not method.nowait:
        channel.reply(BasicConsumeOk(consumer_tag=tag))
    channel.vhost.add_consumer(consumer)
    queue.wake()


def _refuse_known_tag(channel: Any, tag: str) -> None:
    if tag in channel.consumers:
        raise not_allowed(f"attempt to reuse consumer tag '{tag}'")


def _new_consumer(channel: Any, method: BasicConsume, tag: str) -> Consumer:
    name = named_queue(channel, method.queue)
    resource = queue_resource(channel, name)
    check_permission(channel, "read", resource, name)
    _refuse_known_tag(channel, tag)
    queue = channel.vhost.find_queue(name)
    check_exclusive_access(channel, queue)
    _check_arguments(method, resource)
    if channel.global_prefetch_count and queue_type(queue.arguments) == "quorum":
        raise not_implemented(f"{resource} does not support global qos")
    in_exclusive_use = any(consumer.exclusive for consumer in queue.consumers)
    if in_exclusive_use or (method.exclusive and (queue.consumers or queue.settings.single_active_consumer)):
        raise access_refused(f"{resource} in exclusive use")
    channel.vhost.settings.note_consumer_timeout(method.arguments.get(TIMEOUT_ARGUMENT, 0))
    return Consumer(
        channel,
        queue,
        tag,
        no_ack=method.no_ack,
        exclusive=method.exclusive,
        prefetch_count=channel.prefetch_count,
        arguments=dict(method.arguments),
    )


def _check_arguments(method: BasicConsume, resource: str) -> None:
    for name, check in _ARGUMENTS.items():
        if name in method.arguments:
            try:
                check(method.arguments[name])
            except values.InvalidValueError as error:
                raise invalid_argument(name, resource, error) from None
    if "x-stream-offset" in method.arguments:
        raise precondition_failed(f"invalid arg 'x-stream-offset' for {resource} of queue type rabbit_classic_queue")


def cancel(channel: Any, method: BasicCancel) -> None:
    """End a consumer; what it has not acknowledged stays with the channel."""
    consumer = channel.consumers.pop(method.consumer_tag, None)
    if consumer is not None:
        channel.vhost.remove_consumer(consumer)
        if consumer.queue is channel.reply_queue:
            channel.set_reply_queue(None)
    if not method.nowait:
        channel.reply(BasicCancelOk(consumer_tag=method.consumer_tag))


def cancel_ok(channel: Any, method: BasicCancelOk) -> None:
    """Take the answer to a cancel notification; the consumer is gone already."""


def get(channel: Any, method: BasicGet) -> None:
    """Hand out one message."""
    name = named_queue(channel, method.queue)
    check_permission(channel, "read", queue_resource(channel, name), name)
    queue = channel.vhost.find_queue(name)
    check_exclusive_access(channel, queue)
    if queue.settings.single_active_consumer:
        raise resource_locked(
            f"cannot obtain access to locked {queue_resource(channel, name)}. basic.get operations "
            f"are not supported by {queue_type(queue.arguments)} queues with single active consumer"
        )
    channel.get(queue, method.no_ack)


def recover(channel: Any, method: BasicRecover) -> None:
    """Requeue what is unacknowledged on the channel."""
    _check_recover(method)
    channel.requeue_all(lambda: channel.reply(BasicRecoverOk()))


def recover_async(channel: Any, method: BasicRecoverAsync) -> None:
    """Do as ``recover`` without an answer."""
    _check_recover(method)
    channel.requeue_all()


def _check_recover(method: BasicRecover | BasicRecoverAsync) -> None:
    if not method.requeue:
        raise not_implemented("requeue=false")


HANDLERS: dict[Any, Callable[[Any, Any], None]] = {
    BasicQos: qos,
    BasicConsume: consume,
    BasicCancel: cancel,
    BasicCancelOk: cancel_ok,
    BasicGet: get,
    BasicRecover: recover,
    BasicRecoverAsync: recover_async,
}
