"""Limits of queues: how many messages and octets, and what happens to those that are too many."""

from typing import Any

from tests.differential.steps import (
    Scenario,
    Step,
    ack,
    bind,
    cancel,
    consume,
    drain,
    exchange,
    get,
    nack,
    open_channel,
    publish,
    qos,
    queue,
    receive,
    reject,
    settle,
    wait,
)

OVERFLOWS = ("drop-head", "reject-publish", "reject-publish-dlx")


def limited(**arguments: Any) -> Step:
    """A queue with limits, whose dead letters go to the queue %dead."""
    named = {"x-" + name.replace("_", "-"): value for name, value in arguments.items()}
    return queue("%q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "%dead", **named})


def published(*bodies: str, **properties: Any) -> list[Step]:
    """Messages one after the other."""
    return [publish("%q", body, **properties) for body in bodies]


END = [settle(), drain("%q"), drain("%dead")]

SCENARIOS = [
    *(
        Scenario(
            f"{overflow} at {limit}",
            [
                queue("%dead"),
                limited(**limit, overflow=overflow),
                *published("aaa", "bb", "cccc", "d", "ee", "", "f"),
                *END,
            ],
        )
        for overflow in OVERFLOWS
        for limit in (
            {"max_length": 3},
            {"max_length": 0},
            {"max_length_bytes": 6},
            {"max_length_bytes": 0},
            {"max_length": 2, "max_length_bytes": 6},
            {"max_length": 5, "max_length_bytes": 4},
        )
    ),
    *(
        Scenario(
            f"{overflow}: a message larger than the limit",
            [queue("%dead"), limited(max_length_bytes=5, overflow=overflow), *published("1", "x" * 10, "2"), *END],
        )
        for overflow in OVERFLOWS
    ),
    *(
        Scenario(
            f"{overflow}: what is unacknowledged does not count",
            [
                queue("%dead"),
                limited(max_length=2, overflow=overflow),
                *published("1", "2"),
                wait("%q", 2),
                get("%q"),
                get("%q"),
                *published("3", "4", "5"),
                wait("%q", 2),
                nack(2, multiple=True),
                wait("%q", 2 if overflow == "drop-head" else 4),
                *published("6"),
                *END,
            ],
        )
        for overflow in OVERFLOWS
    ),
    *(
        Scenario(
            f"{overflow}: with a consumer",
            [
                queue("%dead"),
                limited(max_length=1, overflow=overflow),
                qos(1),
                consume("%q"),
                publish("%q", "1", on="2"),
                receive(1),
                *(publish("%q", str(number), on="2") for number in range(2, 5)),
                ack(1),
                receive(1),
                cancel(),
                *END,
            ],
        )
        for overflow in OVERFLOWS
    ),
    *(
        Scenario(
            f"{overflow}: zero, with a consumer",
            [
                queue("%dead"),
                limited(max_length=0, overflow=overflow),
                consume("%q"),
                publish("%q", "1", on="2"),
                receive(),
                *END,
            ],
        )
        for overflow in OVERFLOWS
    ),
    *(
        Scenario(
            f"{overflow}: one of two queues is full",
            [
                queue("%dead"),
                limited(max_length=1, overflow=overflow),
                queue("%r"),
                exchange("%x", "fanout"),
                bind("%q", "%x"),
                bind("%r", "%x"),
                *(publish("", str(number), "%x", mandatory=True) for number in range(3)),
                drain("%r"),
                *END,
            ],
        )
        for overflow in OVERFLOWS
    ),
    *(
        Scenario(
            f"{overflow}: without confirms, and in a transaction",
            [
                queue("%dead"),
                limited(max_length=1, overflow=overflow),
                open_channel("2", confirm=False),
                publish("%q", "1", on="2"),
                publish("%q", "2", on="2"),
                wait("%q", 1),
                Step("Tx.Select", {}, "2"),
                publish("%q", "3", on="2"),
                publish("%q", "4", on="2"),
                Step("Tx.Commit", {}, "2"),
                wait("%q", 1),
                *END,
            ],
        )
        for overflow in OVERFLOWS
    ),
    Scenario(
        "room is made again",
        [
            queue("%dead"),
            limited(max_length=1, overflow="reject-publish"),
            *published("1", "2"),
            get("%q"),
            ack(1),
            *published("3", "4"),
            *END,
        ],
    ),
    Scenario(
        "dead letters that are too many for their queue",
        [
            queue("%dead", arguments={"x-max-length": 2}),
            limited(max_length=1),
            *published("1", "2", "3", "4", "5"),
            wait("%dead", 2),
            *END,
        ],
    ),
    Scenario(
        "a queue of dead letters that refuses more",
        [
            queue("%dead", arguments={"x-max-length": 1, "x-overflow": "reject-publish"}),
            limited(max_length=10),
            *published("1", "2", "3"),
            get("%q"),
            get("%q"),
            get("%q"),
            reject(1),
            reject(2),
            reject(3),
            wait("%dead", 1),
            *END,
        ],
    ),
    Scenario(
        "properties do not count as octets",
        [
            queue("%dead"),
            limited(max_length_bytes=5),
            *published("12", "345", headers={"a": "long" * 50}),
            wait("%q", 2),
            *END,
        ],
    ),
    Scenario(
        "priorities: the head is dropped from the lowest",
        [
            queue("%dead"),
            limited(max_length=2, max_priority=5),
            publish("%q", "1", priority=1),
            publish("%q", "2", priority=5),
            publish("%q", "3", priority=3),
            publish("%q", "4", priority=0),
            wait("%q", 2),
            *END,
        ],
    ),
]
