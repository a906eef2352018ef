"""Time to live of messages and of queues.

Where something must not happen, a message with a longer time to live is the clock: once it is gone, it did not happen.
"""

from typing import Any

from tests.differential.steps import (
    Scenario,
    Step,
    ack,
    cancel,
    consume,
    differs,
    drain,
    get,
    nack,
    open_channel,
    publish,
    purge,
    qos,
    queue,
    receive,
    reject,
    wait,
    wait_gone,
)

SOON_MS, LATER_MS, NEVER_MS = 60, 200, 60_000
EXPIRATIONS = (
    "",
    "0",
    "00",
    "60000",
    "+60000",
    "060000",
    "-1",
    "-0",
    "1.5",
    "60000.0",
    "1e5",
    " 60000",
    "60000 ",
    "0x10",
    "a",
    "60000ms",
    "1_000",
    "315360000000",
    "315360000001",
    "4294967295",
    "4294967296",
    "١٢",
)


CLOCK = [queue("%clock"), publish("%clock", expiration=str(LATER_MS))]
ALARM = wait("%clock", 0)
GONE = wait_gone("%q", every_ms=LATER_MS)


def ttl_queue(ttl_ms: int, name: str = "%q", **arguments: Any) -> Step:
    """A queue whose messages live so long."""
    return queue(name, arguments={"x-message-ttl": ttl_ms, **arguments})


SCENARIOS = [
    Scenario(
        "a queue's messages expire",
        [ttl_queue(SOON_MS), publish("%q", "1"), publish("%q", "2"), wait("%q", 0), get("%q")],
    ),
    Scenario(
        "zero without a consumer",
        [ttl_queue(0), publish("%q", "1"), publish("%q", "2", mandatory=True), wait("%q", 0), get("%q")],
    ),
    Scenario(
        "zero with a consumer that can take it",
        [ttl_queue(0), consume("%q", no_ack=True), publish("%q", "1"), receive(1), publish("%q", "2"), receive(1)],
    ),
    Scenario(
        "zero with a consumer that is full",
        [
            ttl_queue(0),
            qos(1),
            consume("%q"),
            publish("%q", "1"),
            receive(1),
            publish("%q", "2"),
            wait("%q", 0),
            ack(1),
            receive(),
            publish("%q", "3"),
            receive(1),
        ],
    ),
    Scenario(
        "zero and given back",
        [
            ttl_queue(0),
            qos(1),
            consume("%q"),
            publish("%q", "1"),
            receive(1),
            cancel(),
            nack(1),
            wait("%q", 0),
            get("%q"),
        ],
    ),
    Scenario(
        "the time of a message that is given back goes on",
        [
            ttl_queue(SOON_MS),
            *CLOCK,
            publish("%q", "1"),
            get("%q"),
            ALARM,
            nack(1),
            wait("%q", 0),
            get("%q"),
        ],
    ),
    Scenario(
        "what is unacknowledged does not expire",
        [
            ttl_queue(SOON_MS),
            *CLOCK,
            publish("%q", "1"),
            consume("%q"),
            receive(1),
            ALARM,
            ack(1),
            receive(),
        ],
    ),
    Scenario(
        "an expiration of a message",
        [
            queue("%q"),
            publish("%q", "1", expiration=str(SOON_MS)),
            wait("%q", 0),
            publish("%q", "2", expiration="60000"),
            drain("%q"),
        ],
    ),
    Scenario(
        "an expiration of zero",
        [
            queue("%q"),
            publish("%q", "1", expiration="0"),
            wait("%q", 0),
            consume("%q"),
            publish("%q", "2", expiration="0"),
            receive(1),
        ],
    ),
    Scenario(
        "what is not at the head of its queue expires",
        [
            queue("%q"),
            *CLOCK,
            publish("%q", "1", expiration=str(NEVER_MS)),
            publish("%q", "2", expiration=str(SOON_MS)),
            publish("%q", "3"),
            ALARM,
            differs(
                "expiry-behind-the-head",
                queue("%q", passive=True),
                ["Queue.DeclareOk queue='%q' message_count=3 consumer_count=0"],
                ["Queue.DeclareOk queue='%q' message_count=2 consumer_count=0"],
            ),
            drain("%q"),
        ],
    ),
    Scenario(
        "an expiration that is far too large",
        [
            queue("%q"),
            differs(
                "long-terms",
                publish("%q", "1", expiration="9" * 30),
                [
                    f"Channel.Close 406 PRECONDITION_FAILED - invalid expiration '{'9' * 30}': {{value_too_large,\n"
                    f"{' ' * 54}{'9' * 30}}} (60, 40)"
                ],
                [
                    f"Channel.Close 406 PRECONDITION_FAILED - invalid expiration '{'9' * 30}': "
                    f"{{value_too_large,{'9' * 30}}} (60, 40)"
                ],
            ),
        ],
    ),
    Scenario(
        "the shorter of the message's and the queue's",
        [
            ttl_queue(SOON_MS),
            ttl_queue(NEVER_MS, "%r"),
            *CLOCK,
            publish("%q", "1", expiration=str(NEVER_MS)),
            publish("%r", "2", expiration=str(SOON_MS)),
            publish("%r", "3"),
            wait("%q", 0),
            wait("%r", 1),
            ALARM,
            drain("%r"),
        ],
    ),
    *(
        Scenario(
            f"the expiration {text!r}",
            [
                queue("%q"),
                publish("%q", "1", expiration=text),
                publish("%absent", "2", expiration=text, mandatory=True),
                drain("%q"),
            ],
        )
        for text in EXPIRATIONS
        if text not in ("0", "00", "-0")
    ),
    Scenario(
        "an invalid expiration without confirms, and in a transaction",
        [
            queue("%q"),
            open_channel("2", confirm=False),
            publish("%q", "1", expiration="soon", on="2"),
            open_channel("3", confirm=False),
            Step("Tx.Select", {}, "3"),
            publish("%q", "1", on="3"),
            publish("%q", "2", expiration="soon", on="3"),
            wait("%q", 0),
        ],
    ),
    Scenario(
        "the largest time to live",
        [ttl_queue(315_360_000_000), publish("%q", "1"), *CLOCK, ALARM, drain("%q")],
    ),
    Scenario(
        "expired ones are not counted by a purge",
        [ttl_queue(SOON_MS), publish("%q", "1"), publish("%q", "2"), wait("%q", 0), purge("%q")],
    ),
    Scenario(
        "a queue expires",
        [queue("%q", arguments={"x-expires": SOON_MS}), GONE, publish("%q", "1", mandatory=True)],
    ),
    Scenario(
        "a queue with messages expires",
        [queue("%q", arguments={"x-expires": SOON_MS}), publish("%q", "1"), GONE, queue("%q"), get("%q")],
    ),
    Scenario(
        "a queue with a consumer does not expire before it is gone",
        [
            queue("%q", arguments={"x-expires": SOON_MS}),
            consume("%q"),
            *CLOCK,
            ALARM,
            publish("%q", "1"),
            receive(1),
            cancel(),
            GONE,
        ],
    ),
    Scenario(
        "a queue that expires with its messages unacknowledged",
        [
            queue("%q", arguments={"x-expires": SOON_MS}),
            publish("%q", "1"),
            get("%q"),
            GONE,
            ack(1),
            queue("%q"),
        ],
    ),
    Scenario(
        "a queue that expires does not dead-letter",
        [
            queue("%dead"),
            queue(
                "%q",
                arguments={"x-expires": SOON_MS, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "%dead"},
            ),
            publish("%q", "1"),
            GONE,
            wait("%dead", 0),
        ],
    ),
    Scenario(
        "messages that are rejected after their time",
        [ttl_queue(SOON_MS), *CLOCK, publish("%q", "1"), get("%q"), ALARM, reject(1), wait("%q", 0)],
    ),
]
