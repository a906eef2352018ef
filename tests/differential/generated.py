"""Scenarios of chance, reproducible by their seed.

They need no model of what should happen: the other broker is the model. What they do not do is anything that depends on
how long something takes, so times to live are zero or long.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.differential.steps import (
    Scenario,
    Step,
    ack,
    bind,
    bind_exchange,
    cancel,
    close_channel,
    close_connection,
    consume,
    delete_exchange,
    delete_queue,
    drain,
    exchange,
    get,
    method,
    nack,
    open_channel,
    outstanding,
    publish,
    purge,
    qos,
    queue,
    receive,
    recover,
    reject,
    settle,
    unbind,
    unbind_exchange,
)

NEVER_MS = 600_000
QUEUES = ("%q0", "%q1", "%q2")
EXCHANGES = ("%x0", "%x1", "%x2")
TYPES = ("direct", "fanout", "topic", "headers")
KEYS = ("", "a", "b", "a.b", "a.b.c", "b.c", "c")
PATTERNS = (*KEYS, "#", "*", "a.#", "*.b", "#.c", "*.*", "a.*.c", "#.b.#")
# The timestamp is no integer of the others: RabbitMQ 3 takes 1 and the timestamp 1 for equal in a headers exchange, and
# RabbitMQ 4 compares a timestamp of 1000 with 1.
HEADER_VALUES: tuple[Any, ...] = (1, 2, ("l", 1), ("b", 2), "1", "x", True, False, None, ("T", 77), [1], {"y": 1})
UNKNOWN_TAG = 99

Chance = random.Random
Generator = Callable[[str, int], Scenario]
GENERATORS: dict[str, Generator] = {}


def generator(build: Callable[[Chance], list[Step]]) -> Callable[[Chance], list[Step]]:
    """Register a function that makes the steps of a scenario out of chance."""

    def scenario(name: str, seed: int) -> Scenario:
        return Scenario(name, build(random.Random(f"{build.__name__} {seed}")), seed)

    GENERATORS[f"generated_{build.__name__}"] = scenario
    return build


def settlement(chance: Chance, on: str) -> Step:
    """Settle something that is outstanding, or rarely something that is not."""
    tag = outstanding(chance.randrange(8)) if chance.random() < 0.97 else UNKNOWN_TAG
    multiple = chance.random() < 0.3
    match chance.randrange(4):
        case 0:
            return ack(tag, multiple, on)
        case 1:
            return nack(tag, multiple, True, on)
        case 2:
            return nack(tag, multiple, False, on)
    return reject(tag, chance.random() < 0.5, on)


@generator
def gets(chance: Chance) -> list[Step]:
    """Gets on two channels, settled in any order."""
    arguments = chance.choice(({}, {}, {"x-max-priority": 3}, {"x-queue-mode": "lazy"}))
    steps = [queue("%q0", durable=chance.random() < 0.3, arguments=arguments)]
    for number in range(chance.randrange(3, 9)):
        properties = {"priority": chance.randrange(5)} if chance.random() < 0.5 else {}
        steps.append(publish("%q0", str(number), delivery_mode=chance.choice((1, 2)), **properties))
    for number in range(chance.randrange(5, 25)):
        on = chance.choice("12")
        roll = chance.random()
        if roll < 0.45:
            steps.append(get("%q0", chance.random() < 0.1, on))
        elif roll < 0.85:
            steps.append(settlement(chance, on))
        elif roll < 0.9:
            steps.append(recover(on=on))
        elif roll < 0.93:
            steps += [close_channel(on), settle()]
        elif roll < 0.97:
            steps.append(publish("%q0", f"late {number}", on=on))
        else:
            steps.append(purge("%q0", on))
    return [*steps, settle(), drain("%q0")]


@generator
def consumers(chance: Chance) -> list[Step]:
    """Consumers with prefetches, that settle in any order."""
    arguments: dict[str, Any] = {}
    if chance.random() < 0.2:
        arguments["x-max-priority"] = 3
    steps = [queue("%q0", arguments=arguments)]
    channels = "123"[: chance.randrange(1, 4)]
    number = 0
    for on in channels:
        steps.append(qos(chance.choice((1, 1, 2, 3)), on))
        priority = {"x-priority": chance.randrange(3)} if chance.random() < 0.3 else {}
        steps.append(consume("%q0", f"c{on}", on, priority))
    for _ in range(chance.randrange(5, 20)):
        on = chance.choice(channels)
        roll = chance.random()
        if roll < 0.45:
            properties = {"priority": chance.randrange(5)} if chance.random() < 0.5 else {}
            steps.append(publish("%q0", str(number := number + 1), on="9", **properties))
        elif roll < 0.9:
            steps.append(settlement(chance, on))
        elif roll < 0.95:
            steps.append(cancel(f"c{on}", on))
        else:
            steps.append(close_channel(on))
        steps += [receive(on=channel) for channel in channels]
    for index, on in enumerate(channels):
        steps += [close_channel(on), *(receive(on=channel) for channel in channels[index + 1 :])]
    return [*steps, settle(), drain("%q0")]


@generator
def topologies(chance: Chance) -> list[Step]:
    """Exchanges of all types with bindings of all sorts, alternates and copies."""
    steps = [queue(name) for name in QUEUES]
    for name in EXCHANGES:
        alternate = {"alternate-exchange": chance.choice(EXCHANGES)} if chance.random() < 0.3 else {}
        internal = chance.random() < 0.1
        steps.append(exchange(name, chance.choice(TYPES), arguments=alternate, internal=internal))
    bound: list[Step] = []
    for _ in range(chance.randrange(4, 14)):
        arguments = headers(chance, 2) if chance.random() < 0.4 else {}
        if arguments and chance.random() < 0.7:
            arguments["x-match"] = chance.choice(("all", "any", "all-with-x", "any-with-x"))
        pattern = chance.choice(PATTERNS)
        if chance.random() < 0.25:
            bound.append(bind_exchange(chance.choice(EXCHANGES), chance.choice(EXCHANGES), pattern, arguments))
        else:
            bound.append(bind(chance.choice(QUEUES), chance.choice(EXCHANGES), pattern, arguments))
    steps += bound
    for number in range(chance.randrange(5, 20)):
        roll = chance.random()
        if roll < 0.8:
            steps.append(any_publish(chance, str(number)))
        elif roll < 0.93:
            steps.append(opposite(chance.choice(bound)))
        elif roll < 0.95:
            steps.append(delete_exchange(chance.choice(EXCHANGES), if_unused=chance.random() < 0.5))
        elif roll < 0.97:
            steps.append(delete_queue(chance.choice(QUEUES), if_unused=True, if_empty=chance.random() < 0.5))
        else:
            steps.append(exchange(chance.choice(EXCHANGES), chance.choice(TYPES)))
    return [*steps, settle(), *(drain(name) for name in QUEUES)]


def headers(chance: Chance, count: int) -> dict[str, Any]:
    """A few headers."""
    return {
        chance.choice(("a", "b", "c", "x-d")): chance.choice(HEADER_VALUES) for _ in range(chance.randrange(count + 1))
    }


def any_publish(chance: Chance, body: str) -> Step:
    """A publish to any exchange with any key, maybe with headers and copies."""
    properties: dict[str, Any] = {}
    if chance.random() < 0.5:
        properties["headers"] = headers(chance, 3)
        if chance.random() < 0.3:
            properties["headers"]["CC"] = [chance.choice((*KEYS, *QUEUES)) for _ in range(chance.randrange(1, 3))]
    name = chance.choice((*EXCHANGES, ""))
    key = chance.choice(KEYS if name else QUEUES)
    return publish(key, body, name, mandatory=chance.random() < 0.4, **properties)


def opposite(step: Step) -> Step:
    """The step that takes a binding away."""
    fields = step.fields
    if step.action == "Queue.Bind":
        return unbind(fields["queue"], fields["exchange"], fields["routing_key"], fields["arguments"])
    return unbind_exchange(fields["destination"], fields["source"], fields["routing_key"], fields["arguments"])


@generator
def declarations(chance: Chance) -> list[Step]:
    """Declarations and deletions of a few names, over and over, on two connections."""
    steps: list[Step] = []
    for number in range(chance.randrange(8, 30)):
        on = chance.choice(("1", "1", "other/1"))
        name, exchange_name = chance.choice(QUEUES), chance.choice(EXCHANGES)
        match chance.randrange(9):
            case 0 | 1 | 2:
                flags = {flag: chance.random() < 0.2 for flag in ("durable", "exclusive", "passive")}
                steps.append(queue(name, on, any_arguments(chance), **flags))
            case 3 | 4:
                flags = {flag: chance.random() < 0.2 for flag in ("durable", "auto_delete", "internal", "passive")}
                steps.append(exchange(exchange_name, chance.choice(TYPES), on, **flags))
            case 5:
                steps.append(bind(name, exchange_name, "k", on=on))
            case 6:
                steps.append(unbind(name, exchange_name, "k", on=on))
            case 7:
                deletion = {flag: chance.random() < 0.4 for flag in ("if_unused", "if_empty")}
                steps.append(delete_queue(name, on, **deletion))
            case 8:
                steps.append(delete_exchange(exchange_name, on, if_unused=chance.random() < 0.4))
        if chance.random() < 0.2:
            steps.append(publish(name, str(number), on=on, mandatory=True))
    return steps


def any_arguments(chance: Chance) -> dict[str, Any]:
    """Arguments of a queue, valid or not."""
    choices: dict[str, tuple[Any, ...]] = {
        "x-message-ttl": (0, NEVER_MS, ("l", NEVER_MS), -1, "5", 1.5),
        "x-expires": (NEVER_MS, 0, "x"),
        "x-max-length": (3, ("l", 3), -3, True),
        "x-max-length-bytes": (3, ("u", 300)),
        "x-overflow": ("drop-head", "reject-publish", "drop", 5),
        "x-max-priority": (1, 255, 256, -1),
        "x-dead-letter-exchange": ("", "%x0", 5),
        "x-dead-letter-routing-key": ("k", 5),
        "x-single-active-consumer": (True, False, "yes"),
        "x-queue-mode": ("lazy", "default", "busy"),
    }
    names = chance.sample(sorted(choices), chance.choice((0, 0, 1, 1, 2)))
    return {name: chance.choice(choices[name]) for name in names}


@generator
def dead_letters(chance: Chance) -> list[Step]:
    """Queues that dead-letter to each other, for all reasons, in circles too; a message takes one way at a time."""
    steps = [exchange("%x0", chance.choice(("direct", "topic")))]
    for name in QUEUES:
        arguments: dict[str, Any] = {}
        if chance.random() < 0.8:
            arguments["x-dead-letter-exchange"] = chance.choice(("", "", "%x0", "%absent"))
            if chance.random() < 0.6:
                arguments["x-dead-letter-routing-key"] = chance.choice(QUEUES)
        if chance.random() < 0.2:
            arguments["x-max-length"] = chance.randrange(1, 3)
        if chance.random() < 0.15:
            arguments["x-message-ttl"] = 0
        steps.append(queue(name, arguments=arguments))
        steps.append(bind(name, "%x0", name))
    for number in range(chance.randrange(6, 20)):
        name = chance.choice(QUEUES)
        if chance.random() < 0.5:
            properties: dict[str, Any] = {}
            if chance.random() < 0.3:
                properties["headers"] = {"own": chance.choice(HEADER_VALUES)}
            if chance.random() < 0.2:
                properties["expiration"] = str(NEVER_MS)
            steps.append(publish(name, str(number), chance.choice(("", "", "%x0")), **properties))
        elif chance.random() < 0.6:
            steps.append(get(name))
        else:
            tag = outstanding(chance.randrange(4))
            steps.append(chance.choice((nack(tag, False, False), nack(tag), reject(tag), ack(tag))))
        steps.append(settle())
    return [*steps, *(drain(name) for name in QUEUES)]


@generator
def limits(chance: Chance) -> list[Step]:
    """Queues with limits, messages of all sizes."""
    arguments: dict[str, Any] = {}
    if chance.random() < 0.7:
        arguments["x-max-length"] = chance.randrange(5)
    if chance.random() < 0.5:
        arguments["x-max-length-bytes"] = chance.randrange(20)
    if chance.random() < 0.6:
        arguments["x-overflow"] = chance.choice(("drop-head", "reject-publish", "reject-publish-dlx"))
    if chance.random() < 0.25:
        arguments["x-max-priority"] = 3
    if chance.random() < 0.5:
        arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "%q1"}
    steps = [queue("%q0", arguments=arguments), queue("%q1")]
    for number in range(chance.randrange(6, 25)):
        roll = chance.random()
        if roll < 0.65:
            properties = {"priority": chance.randrange(5)} if chance.random() < 0.4 else {}
            steps.append(publish("%q0", f"{number}" * chance.randrange(6), **properties))
        elif roll < 0.8:
            steps.append(get("%q0"))
        else:
            steps.append(settlement(chance, "1"))
        steps.append(settle())
    return [*steps, drain("%q0"), drain("%q1")]


@generator
def transactions(chance: Chance) -> list[Step]:
    """Publishes and settlements in transactions."""
    steps = [open_channel(confirm=False), method("Tx.Select"), queue("%q0"), queue("%q1")]
    for number in range(chance.randrange(6, 30)):
        roll = chance.random()
        if roll < 0.4:
            key = chance.choice(("%q0", "%q0", "%q1", "%absent"))
            steps.append(publish(key, str(number), mandatory=chance.random() < 0.2))
        elif roll < 0.6:
            steps.append(get(chance.choice(("%q0", "%q1"))))
        elif roll < 0.75:
            tag = outstanding(chance.randrange(5))
            steps.append(chance.choice((ack(tag), ack(tag, True), nack(tag), reject(tag), nack(tag, True, False))))
        elif roll < 0.9:
            steps.append(method("Tx.Commit"))
        else:
            steps.append(method("Tx.Rollback"))
    return [*steps, receive(), close_channel(), settle(), drain("%q0"), drain("%q1")]


@generator
def everything(chance: Chance) -> list[Step]:
    """Everything at once on two queues, from three channels of two connections; consumers are exclusive."""
    channels = ("1", "2", "other/1")
    names = QUEUES[:2]
    steps = [declared_queue(chance, name) for name in names] + [exchange("%x0", "topic")]
    for number in range(chance.randrange(8, 24)):
        on, name = chance.choice(channels), chance.choice(names)
        step = any_step(chance, name, str(number))
        steps.append(step if step.on != "1" else replace(step, on=on))
        steps += [settle(), *(receive(on=channel) for channel in channels)]
    return [*steps, *(drain(name) for name in names)]


def declared_queue(chance: Chance, name: str) -> Step:
    """A queue that dead-letters to the other one, or not, with some limits."""
    arguments: dict[str, Any] = {}
    if chance.random() < 0.4:
        arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": chance.choice(QUEUES[:2])}
    if chance.random() < 0.3:
        arguments["x-max-length"] = chance.randrange(1, 4)
    if chance.random() < 0.3:
        arguments["x-max-priority"] = 3
    return queue(name, arguments=arguments, durable=chance.random() < 0.3, auto_delete=chance.random() < 0.1)


def any_step(chance: Chance, name: str, body: str) -> Step:
    """One of the things that a client does, more or less as often as clients do it."""
    roll = chance.random()
    if roll < 0.3:
        properties: dict[str, Any] = {"priority": chance.randrange(5)} if chance.random() < 0.3 else {}
        exchange_name = chance.choice(("", "", "%x0"))
        return publish(chance.choice((name, "a.b")), body, exchange_name, mandatory=chance.random() < 0.3, **properties)
    if roll < 0.45:
        return settlement(chance, "1")
    if roll < 0.55:
        return get(name, no_ack=chance.random() < 0.2)
    return chance.choice(
        (
            consume(name, f"c{name[1:]}", exclusive=True, no_ack=chance.random() < 0.2),
            consume(name, f"c{name[1:]}", exclusive=True),
            cancel(f"c{name[1:]}"),
            qos(chance.randrange(1, 4)),
            bind(name, "%x0", chance.choice(PATTERNS)),
            unbind(name, "%x0", chance.choice(PATTERNS)),
            recover(),
            purge(name),
            declared_queue(chance, name),
            queue(name, passive=True),
            delete_queue(name, if_empty=chance.random() < 0.5, if_unused=chance.random() < 0.5),
            close_channel(),
            close_connection("other/1"),
        )
    )
