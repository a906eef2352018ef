"""The language of the scenarios: a scenario is a list of steps, and a step is data.

Every ``%`` in a string of a step stands for a prefix that only this run of this scenario uses, so ``"%q"`` is a queue
of its own; transcripts show the prefix as ``%`` again. ``on`` names the channel as ``connection/channel``; without a
connection it is one of the connection ``main``, which all scenarios share. Channels are opened when they are first
used, and again after they were closed, in confirm mode unless ``open_channel`` says otherwise.

A delivery tag is a number, or ``outstanding(3)``: the fourth (counted around) of those that are not settled.
``GENERATED_REPLY_TO`` as a routing key is the reply-to that the broker put into the last message that had one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

GENERATED_REPLY_TO = "<reply-to>"
OUTSTANDING = "outstanding "
MAIN_CHANNEL = "1"

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One thing that is done; what the client then sees is its part of the transcript.

    With a ``difference`` the two brokers answer differently, for the reason that the document gives under this id, and
    ``rabbitmq`` and ``haypile`` are what they answer.
    """

    action: str
    fields: Arguments
    on: str = MAIN_CHANNEL
    difference: str | None = None
    rabbitmq: tuple[str, ...] = ()
    haypile: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.fields.items() if value not in ("", False, {}))
        return f"[{self.on}] {self.action}({shown})"


@dataclass(frozen=True)
class Scenario:
    """A list of steps with a name."""

    name: str
    steps: list[Step]
    seed: int | None = None

    @property
    def differences(self) -> set[str]:
        """The ids of the known differences in it."""
        return {step.difference for step in self.steps if step.difference is not None}


def differs(difference: str, step: Step, rabbitmq: list[str], haypile: list[str]) -> Step:
    """The step, at which the brokers differ in a known way."""
    return replace(step, difference=difference, rabbitmq=tuple(rabbitmq), haypile=tuple(haypile))


def open_channel(on: str = MAIN_CHANNEL, confirm: bool = True) -> Step:
    """Open the channel, in confirm mode or not."""
    return Step("open_channel", {"confirm": confirm}, on)


def close_channel(on: str = MAIN_CHANNEL) -> Step:
    """Close the channel."""
    return Step("close_channel", {}, on)


def close_connection(on: str) -> Step:
    """Close the connection of the channel."""
    return Step("close_connection", {}, on)


def queue(queue: str = "", on: str = MAIN_CHANNEL, arguments: Arguments | None = None, **flags: bool) -> Step:
    """Declare a queue."""
    return Step("Queue.Declare", {"queue": queue, **flags, "arguments": arguments or {}}, on)


def exchange(
    exchange: str, kind: str = "direct", on: str = MAIN_CHANNEL, arguments: Arguments | None = None, **flags: bool
) -> Step:
    """Declare an exchange."""
    fields = {"exchange": exchange, "exchange_type": kind, **flags, "arguments": arguments or {}}
    return Step("Exchange.Declare", fields, on)


def bind(queue: str, exchange: str, key: str = "", arguments: Arguments | None = None, on: str = MAIN_CHANNEL) -> Step:
    """Bind a queue."""
    fields = {"queue": queue, "exchange": exchange, "routing_key": key, "arguments": arguments or {}}
    return Step("Queue.Bind", fields, on)


def unbind(
    queue: str, exchange: str, key: str = "", arguments: Arguments | None = None, on: str = MAIN_CHANNEL
) -> Step:
    """Unbind a queue."""
    fields = {"queue": queue, "exchange": exchange, "routing_key": key, "arguments": arguments or {}}
    return Step("Queue.Unbind", fields, on)


def bind_exchange(
    destination: str, source: str, key: str = "", arguments: Arguments | None = None, on: str = MAIN_CHANNEL
) -> Step:
    """Bind an exchange to an exchange."""
    fields = {"destination": destination, "source": source, "routing_key": key, "arguments": arguments or {}}
    return Step("Exchange.Bind", fields, on)


def unbind_exchange(
    destination: str, source: str, key: str = "", arguments: Arguments | None = None, on: str = MAIN_CHANNEL
) -> Step:
    """Unbind an exchange from an exchange."""
    fields = {"destination": destination, "source": source, "routing_key": key, "arguments": arguments or {}}
    return Step("Exchange.Unbind", fields, on)


def delete_queue(queue: str, on: str = MAIN_CHANNEL, **flags: bool) -> Step:
    """Delete a queue; ``if_unused``, ``if_empty``."""
    return Step("Queue.Delete", {"queue": queue, **flags}, on)


def delete_exchange(exchange: str, on: str = MAIN_CHANNEL, **flags: bool) -> Step:
    """Delete an exchange; ``if_unused``."""
    return Step("Exchange.Delete", {"exchange": exchange, **flags}, on)


def purge(queue: str, on: str = MAIN_CHANNEL) -> Step:
    """Purge a queue."""
    return Step("Queue.Purge", {"queue": queue}, on)


def publish(
    key: str,
    body: str = "",
    exchange: str = "",
    on: str = MAIN_CHANNEL,
    mandatory: bool = False,
    immediate: bool = False,
    **properties: Any,
) -> Step:
    """Publish a message, and wait for its confirm when the channel is in confirm mode."""
    fields = {
        "exchange": exchange,
        "routing_key": key,
        "mandatory": mandatory,
        "immediate": immediate,
        "body": body,
        "properties": properties,
    }
    return Step("publish", fields, on)


def consume(
    queue: str, tag: str = "c", on: str = MAIN_CHANNEL, arguments: Arguments | None = None, **flags: bool
) -> Step:
    """Start a consumer; ``no_ack``, ``exclusive``, ``no_local``."""
    return Step("Basic.Consume", {"queue": queue, "consumer_tag": tag, **flags, "arguments": arguments or {}}, on)


def cancel(tag: str = "c", on: str = MAIN_CHANNEL) -> Step:
    """Cancel a consumer."""
    return Step("Basic.Cancel", {"consumer_tag": tag}, on)


def get(queue: str, no_ack: bool = False, on: str = MAIN_CHANNEL) -> Step:
    """Get one message."""
    return Step("Basic.Get", {"queue": queue, "no_ack": no_ack}, on)


def drain(queue: str, on: str = MAIN_CHANNEL) -> Step:
    """Get messages, without acknowledgements, until the queue is empty."""
    return Step("drain", {"queue": queue}, on)


def outstanding(index: int) -> str:
    """The delivery tag of one of the messages that the channel has not settled."""
    return f"{OUTSTANDING}{index}"


def ack(tag: int | str, multiple: bool = False, on: str = MAIN_CHANNEL) -> Step:
    """Acknowledge."""
    return Step("Basic.Ack", {"delivery_tag": tag, "multiple": multiple}, on)


def nack(tag: int | str, multiple: bool = False, requeue: bool = True, on: str = MAIN_CHANNEL) -> Step:
    """Acknowledge negatively."""
    return Step("Basic.Nack", {"delivery_tag": tag, "multiple": multiple, "requeue": requeue}, on)


def reject(tag: int | str, requeue: bool = False, on: str = MAIN_CHANNEL) -> Step:
    """Reject."""
    return Step("Basic.Reject", {"delivery_tag": tag, "requeue": requeue}, on)


def recover(requeue: bool = True, on: str = MAIN_CHANNEL) -> Step:
    """Recover what is not acknowledged."""
    return Step("Basic.Recover", {"requeue": requeue}, on)


def qos(count: int, on: str = MAIN_CHANNEL, for_channel: bool = False, size: int = 0) -> Step:
    """Limit the prefetch of consumers to come, or of the channel."""
    return Step("Basic.Qos", {"prefetch_size": size, "prefetch_count": count, "global_": for_channel}, on)


def method(name: str, on: str = MAIN_CHANNEL, **fields: Any) -> Step:
    """Any other method without a content, as pamqp calls it: ``Tx.Select``."""
    return Step(name, fields, on)


def receive(count: int = 0, on: str = MAIN_CHANNEL) -> Step:
    """What comes by itself: deliveries, returns and cancellations. At least so many are waited for."""
    return Step("receive", {"count": count}, on)


def wait(queue: str, ready: int, on: str = MAIN_CHANNEL) -> Step:
    """Wait until the queue has so many ready messages."""
    return Step("wait", {"queue": queue, "ready": ready}, on)


def wait_gone(queue: str, every_ms: int = 0) -> Step:
    """Wait until the queue does not exist. A queue that expires lives on when it is looked at: do so rarely."""
    return Step("wait_gone", {"queue": queue, "every_ms": every_ms})


def settle() -> Step:
    """Wait until the queues of the scenario no longer change, and write down what is in them."""
    return Step("settle", {})
