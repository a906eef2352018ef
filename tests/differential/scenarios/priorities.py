"""Priorities of messages and of consumers, and the single active consumer."""

from tests.differential.steps import (
    Scenario,
    ack,
    cancel,
    close_channel,
    close_connection,
    consume,
    delete_queue,
    differs,
    drain,
    get,
    nack,
    publish,
    qos,
    queue,
    receive,
    recover,
    reject,
    wait,
)

PRIORITIES = (0, 3, 1, None, 5, 2, 255, 4, 3, 0)
MIXED = [
    publish("%q", f"{number}: {priority}", **({} if priority is None else {"priority": priority}))
    for number, priority in enumerate(PRIORITIES)
]
PRIORITIZED = queue("%q", arguments={"x-max-priority": 5})
SINGLE = queue("%q", arguments={"x-single-active-consumer": True})
TAKEN_OVER = "Basic.Deliver consumer_tag='b' delivery_tag=1 redelivered=False exchange='' routing_key='%q' |  | '2'"

SCENARIOS = [
    *(
        Scenario(
            f"a maximum of {maximum}",
            [queue("%q", arguments={"x-max-priority": maximum}), *MIXED, wait("%q", len(MIXED)), drain("%q")],
        )
        for maximum in (1, 3, 5, 10, 255)
    ),
    Scenario("a queue without priorities", [queue("%q"), *MIXED, wait("%q", len(MIXED)), drain("%q")]),
    Scenario(
        "messages that are given back",
        [
            PRIORITIZED,
            *MIXED,
            *(get("%q") for _ in range(6)),
            nack(2),
            nack(6),
            reject(4, requeue=True),
            nack(5, multiple=True),
            drain("%q"),
        ],
    ),
    Scenario(
        "a consumer of a queue with priorities",
        [
            PRIORITIZED,
            *MIXED,
            qos(3),
            consume("%q"),
            receive(3),
            ack(3, multiple=True),
            receive(3),
            nack(5),
            receive(1),
            recover(),
            receive(3),
        ],
    ),
    Scenario(
        "a higher one overtakes what is ready",
        [
            PRIORITIZED,
            publish("%q", "low"),
            publish("%q", "high", priority=5),
            get("%q"),
            publish("%q", "higher still", priority=9),
            publish("%q", "middle", priority=2),
            drain("%q"),
        ],
    ),
    Scenario(
        "expiry in a queue with priorities",
        [
            PRIORITIZED,
            publish("%q", "1", priority=5, expiration="20"),
            publish("%q", "2", priority=1, expiration="20"),
            publish("%q", "3", priority=1),
            wait("%q", 1),
            drain("%q"),
        ],
    ),
    Scenario(
        "consumers of a higher priority come first",
        [
            queue("%q"),
            qos(1),
            consume("%q", "low", arguments={"x-priority": -5}),
            consume("%q", "none"),
            consume("%q", "high", arguments={"x-priority": 10}),
            *(publish("%q", str(number), on="2") for number in range(5)),
            receive(3),
            ack(2),
            receive(1),
            ack(1),
            receive(1),
            ack(3),
            receive(),
        ],
    ),
    Scenario(
        "consumers of the same priority take turns",
        [
            queue("%q"),
            consume("%q", "a", arguments={"x-priority": 3}),
            consume("%q", "low"),
            consume("%q", "b", arguments={"x-priority": 3}),
            *(publish("%q", str(number), on="2") for number in range(5)),
            receive(5),
            cancel("a"),
            cancel("b"),
            *(publish("%q", str(number), on="2") for number in range(2)),
            receive(2),
        ],
    ),
    Scenario(
        "a single active consumer",
        [
            SINGLE,
            consume("%q", "a"),
            consume("%q", "b"),
            consume("%q", "c", on="2"),
            *(publish("%q", str(number), on="3") for number in range(3)),
            receive(3),
            receive(on="2"),
            queue("%q", passive=True),
            cancel("a"),
            publish("%q", "3", on="3"),
            receive(1),
            close_channel(),
            receive(4, on="2"),
        ],
    ),
    Scenario(
        "a single active consumer that is full",
        [
            SINGLE,
            qos(1),
            consume("%q", "a"),
            consume("%q", "b"),
            publish("%q", "1"),
            publish("%q", "2"),
            receive(1),
            ack(1),
            receive(1),
            cancel("a"),
            receive(),
            ack(2),
            publish("%q", "3"),
            receive(1),
        ],
    ),
    Scenario(
        "the single active consumer's connection goes",
        [
            SINGLE,
            consume("%q", "a", on="other/1"),
            consume("%q", "b"),
            publish("%q", "1"),
            publish("%q", "2"),
            receive(2, on="other/1"),
            close_connection("other/1"),
            receive(2),
        ],
    ),
    Scenario(
        "single active and exclusive",
        [SINGLE, consume("%q", exclusive=True), consume("%q", "b"), queue("%q", passive=True)],
    ),
    Scenario(
        "single active: a get",
        [
            SINGLE,
            differs(
                "single-active-get",
                get("%q"),
                ["Basic.GetEmpty cluster_id=''"],
                [
                    "Channel.Close 405 RESOURCE_LOCKED - cannot obtain access to locked queue '%q' in vhost '/'. "
                    "basic.get operations are not supported by classic queues with single active consumer (60, 70)"
                ],
            ),
        ],
    ),
    Scenario(
        "single active: the next one takes over when the first is cancelled with something unacknowledged",
        [
            SINGLE,
            qos(1),
            consume("%q", "a"),
            consume("%q", "b", on="2"),
            publish("%q", "1", on="3"),
            receive(1),
            publish("%q", "2", on="3"),
            cancel("a"),
            differs("single-active-cancel", receive(on="2"), [], [TAKEN_OVER]),
        ],
    ),
    Scenario(
        "single active: a requeue",
        [
            SINGLE,
            publish("%q", "1"),
            publish("%q", "2"),
            consume("%q", "a"),
            receive(2),
            nack(1),
            receive(1),
            nack(2),
            receive(1),
        ],
    ),
    Scenario(
        "single active with priorities of consumers",
        [
            SINGLE,
            consume("%q", "low"),
            consume("%q", "high", arguments={"x-priority": 10}),
            consume("%q", "higher", arguments={"x-priority": 20}),
            publish("%q", "1"),
            receive(1),
            cancel("low"),
            publish("%q", "2"),
            receive(1),
        ],
    ),
    Scenario(
        "single active: every consumer is told that the queue is gone",
        [SINGLE, consume("%q", "a"), consume("%q", "b"), delete_queue("%q", on="2"), receive(2)],
    ),
]
