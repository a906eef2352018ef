"""Arguments of queues, exchanges and consumers: every argument with values of every kind."""

from typing import Any

from tests.differential.steps import Scenario, Step, consume, differs, exchange, publish, queue

VALUES: dict[str, Any] = {
    "zero": 0,
    "one": 1,
    "negative": -1,
    "byte": ("b", 5),
    "unsigned byte": ("B", 200),
    "short": ("s", -300),
    "unsigned short": ("u", 300),
    "unsigned int": ("i", 300),
    "long": ("l", 60_000),
    "ten years": ("l", 315_360_000_000),
    "more than ten years": ("l", 315_360_000_001),
    "enormous": ("l", 1 << 62),
    "float": 1.5,
    "short float": ("f", 1.0),
    "decimal": ("D", (1, 15)),
    "true": True,
    "false": False,
    "string": "a string",
    "number in a string": "5",
    "empty string": "",
    "bytes": b"bytes",
    "nothing": None,
    "time": ("T", 1_700_000_000),
    "table": {"a": 1},
    "array": [1, "a"],
}
QUEUE_ARGUMENTS = (
    "x-expires",
    "x-message-ttl",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-mode",
    "x-queue-version",
    "x-queue-type",
    "x-unknown",
)
WORDS = {
    "x-overflow": ("drop-head", "reject-publish", "reject-publish-dlx", "DROP-HEAD", "nonsense"),
    "x-queue-mode": ("default", "lazy", "nonsense"),
    "x-queue-type": ("classic", "Classic", "nonsense"),
    "x-queue-version": (1, 2, 3),
    "x-max-priority": (255, 256, 10),
    "x-dead-letter-exchange": ("amq.direct", "%absent", "a\nb"),
    "x-dead-letter-strategy": ("at-most-once", "at-least-once", "nonsense"),
}
VALID = {
    "x-expires": (600_000, 700_000),
    "x-message-ttl": (600_000, 700_000),
    "x-max-length": (10, 11),
    "x-max-length-bytes": (10, 11),
    "x-max-priority": (3, 4),
    "x-dead-letter-exchange": ("amq.direct", "amq.fanout"),
    "x-overflow": ("drop-head", "reject-publish"),
    "x-single-active-consumer": (True, False),
    "x-queue-mode": ("default", "lazy"),
    "x-unknown": (1, 2),
}


def declared_again(argument: str, value: Any, other: Any) -> list[Step]:
    """A queue with and without the argument, with another value, and with the same value as another type."""
    steps = [
        queue("%q", arguments={argument: value}),
        queue("%q", arguments={argument: value}),
        queue("%q"),
        queue("%q", arguments={argument: other}),
        queue("%q", arguments={argument: value, "x-other": 1}),
        queue("%without"),
        queue("%without", arguments={argument: value}),
        queue("%q", passive=True),
    ]
    if isinstance(value, int) and not isinstance(value, bool):
        steps += [queue("%q", arguments={argument: (letter, value)}) for letter in "lTd"]
    return [*steps, publish("%q", "1", mandatory=True)]


SCENARIOS = [
    *(
        Scenario(
            f"{argument} with values of every type",
            [queue(f"%{kind}", arguments={argument: value}) for kind, value in VALUES.items()]
            + [queue(f"%word-{word}", arguments={argument: word}) for word in WORDS.get(argument, ())],
        )
        for argument in QUEUE_ARGUMENTS
    ),
    *(
        Scenario(f"a queue with {argument} declared again", declared_again(argument, value, other))
        for argument, (value, other) in VALID.items()
    ),
    Scenario(
        "a dead-letter routing key and its exchange",
        [
            queue("%a", arguments={"x-dead-letter-routing-key": "k"}),
            queue("%b", arguments={"x-dead-letter-exchange": "%x", "x-dead-letter-routing-key": "k"}),
            queue("%b", arguments={"x-dead-letter-exchange": "%x", "x-dead-letter-routing-key": "other"}),
            queue("%b", arguments={"x-dead-letter-exchange": "%x"}),
            queue("%b", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "k"}),
            queue("%c", arguments={"x-dead-letter-exchange": "%x", "x-dead-letter-routing-key": ""}),
            queue("%d", arguments={"x-dead-letter-exchange": "%x", "x-dead-letter-routing-key": 5}),
            queue("%e", arguments={"x-dead-letter-exchange": 5, "x-dead-letter-routing-key": "k"}),
        ],
    ),
    Scenario(
        "more than one argument that is invalid",
        [
            queue("%a", arguments={"x-max-length": -1, "x-expires": 0}),
            queue("%a", arguments={"x-expires": 0, "x-max-length": -1}),
            queue("%a", durable=True, arguments={"x-overflow": "x", "x-message-ttl": "y"}),
        ],
    ),
    Scenario(
        "arguments that do not fit the queue that is there",
        [
            queue("%q", arguments={"x-max-length": 5}),
            queue("%q", arguments={"x-max-length": -1}),
            queue("%q", durable=True, arguments={"x-max-length": 6}),
            queue("%q", arguments={"x-max-length": 6, "x-expires": 5000}),
            queue("%q", arguments={"x-max-length": "5"}),
        ],
    ),
    Scenario(
        "an alternate exchange of every type",
        [exchange(f"%{kind}", arguments={"alternate-exchange": value}) for kind, value in VALUES.items()],
    ),
    Scenario(
        "an exchange with an alternate exchange declared again",
        [
            exchange("%x", arguments={"alternate-exchange": "%a"}),
            exchange("%x", arguments={"alternate-exchange": "%a"}),
            exchange("%x"),
            exchange("%x", arguments={"alternate-exchange": "%b"}),
            exchange("%x", arguments={"alternate-exchange": 5}),
            exchange("%x", arguments={"alternate-exchange": "a\nb"}),
        ],
    ),
    Scenario(
        "the priority of a consumer with values of every type",
        [
            queue("%q"),
            *(consume("%q", kind, arguments={"x-priority": value}) for kind, value in VALUES.items()),
        ],
    ),
    Scenario(
        "arguments of consumers that mean nothing",
        [
            queue("%q"),
            consume("%q", "a", arguments={"x-unknown": 5}),
            consume("%q", "b", arguments={"x-cancel-on-ha-failover": True}),
            differs(
                "cancel-on-ha-failover",
                consume("%q", "c", arguments={"x-cancel-on-ha-failover": "yes"}),
                [
                    "Channel.Close 406 PRECONDITION_FAILED - invalid arg 'x-cancel-on-ha-failover' for queue '%q' in "
                    "vhost '/': {unacceptable_type,longstr} (60, 20)"
                ],
                ["Basic.ConsumeOk consumer_tag='c'"],
            ),
            consume("%q", "d", arguments={"x-stream-offset": "first"}),
            consume("%q", "e", arguments={"x-credit": {"credit": 5, "drain": False}}),
        ],
    ),
]
