"""Queues of type quorum: what they refuse, and the limit of deliveries."""

from typing import Any

from tests.differential.steps import (
    Scenario,
    Step,
    ack,
    close_channel,
    consume,
    delete_queue,
    differs,
    drain,
    get,
    nack,
    publish,
    purge,
    qos,
    queue,
    receive,
    recover,
    reject,
    wait,
)


def quorum(
    name: str = "%q", durable: bool = True, exclusive: bool = False, auto_delete: bool = False, **arguments: Any
) -> Step:
    """A quorum queue; arguments are written with underscores and without their x-."""
    named = {"x-" + argument.replace("_", "-"): value for argument, value in arguments.items()}
    flags = {"durable": durable, "exclusive": exclusive, "auto_delete": auto_delete}
    return queue(name, arguments={"x-queue-type": "quorum", **named}, **flags)


INEQUIVALENT = "Channel.Close 406 PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '%q' in vhost '/': "
GOT = "Basic.GetOk delivery_tag=1 redelivered=False exchange='' routing_key='%q' message_count=0"
AGAIN = "Basic.GetOk delivery_tag=2 redelivered={} exchange='' routing_key='%q' message_count=1"
TO_DEAD = {"dead_letter_exchange": "", "dead_letter_routing_key": "%dead"}

SCENARIOS = [
    Scenario(
        "flags and arguments that are refused",
        [
            quorum(durable=False),
            quorum(exclusive=True),
            quorum(durable=False, exclusive=True),
            quorum(max_priority=5),
            quorum(queue_mode="lazy"),
            quorum(overflow="reject-publish-dlx"),
            quorum(delivery_limit=-1),
            quorum(delivery_limit="5"),
            quorum(unknown=1),
            queue("%q", passive=True),
        ],
    ),
    Scenario("an auto-delete queue", [quorum(auto_delete=True), queue("%q", passive=True)]),
    Scenario(
        "declared again",
        [
            quorum(),
            quorum(),
            differs(
                "queue-type-default",
                queue("%q", durable=True),
                [INEQUIVALENT + "received none but current is the value 'quorum' of type 'longstr' (50, 10)"],
                [INEQUIVALENT + "received 'classic' but current is 'quorum' (50, 10)"],
            ),
            quorum(delivery_limit=5),
            queue("%q", durable=True, arguments={"x-queue-type": "classic"}),
            quorum("%r", delivery_limit=5),
            quorum("%r", delivery_limit=5),
            quorum("%r", delivery_limit=6),
            quorum("%r"),
        ],
    ),
    Scenario(
        "a classic queue is no quorum queue",
        [
            queue("%q", durable=True),
            differs(
                "queue-type-default",
                quorum(),
                [INEQUIVALENT + "received the value 'quorum' of type 'longstr' but current is none (50, 10)"],
                [INEQUIVALENT + "received 'quorum' but current is 'classic' (50, 10)"],
            ),
        ],
    ),
    Scenario(
        "publish, get, acknowledge",
        [
            quorum(),
            *(publish("%q", str(number)) for number in range(3)),
            wait("%q", 3),
            get("%q"),
            get("%q"),
            ack(1),
            close_channel(),
            wait("%q", 2),
            drain("%q"),
        ],
    ),
    Scenario(
        "consumers",
        [
            quorum(),
            *(publish("%q", str(number)) for number in range(4)),
            wait("%q", 4),
            qos(2),
            consume("%q"),
            receive(2),
            ack(1),
            receive(1),
            ack(3, multiple=True),
            receive(1),
        ],
    ),
    Scenario("a global prefetch", [quorum(), publish("%q", "1"), qos(1, for_channel=True), consume("%q"), receive()]),
    Scenario(
        "the count of deliveries in a header",
        [
            quorum(),
            publish("%q", "1", headers={"a": 1}),
            differs(
                "delivery-count-zero",
                get("%q"),
                [f"{GOT} | headers={{a=I:1, x-delivery-count=l:0}} | '1'"],
                [f"{GOT} | headers={{a=I:1}} | '1'"],
            ),
            nack(1),
            wait("%q", 1),
            get("%q"),
            nack(2),
            wait("%q", 1),
            get("%q"),
            reject(3, requeue=True),
            wait("%q", 1),
            drain("%q"),
        ],
    ),
    Scenario(
        "the count after a channel was closed",
        [quorum(), publish("%q", "1"), get("%q"), close_channel(), wait("%q", 1), drain("%q")],
    ),
    Scenario(
        "a limit of deliveries",
        [
            queue("%dead"),
            quorum(delivery_limit=2, **TO_DEAD),
            publish("%q", "1"),
            *(step for tag in (1, 2) for step in (get("%q"), nack(tag), wait("%q", 1))),
            get("%q"),
            nack(3),
            wait("%dead", 1),
            drain("%dead"),
        ],
    ),
    Scenario(
        "a limit of deliveries of zero",
        [
            queue("%dead"),
            quorum(delivery_limit=0, **TO_DEAD),
            publish("%q", "1"),
            get("%q"),
            nack(1),
            wait("%dead", 1),
            drain("%dead"),
        ],
    ),
    Scenario(
        "a limit of deliveries for a consumer",
        [
            queue("%dead"),
            quorum(delivery_limit=1, **TO_DEAD),
            publish("%q", "1"),
            qos(1),
            consume("%q"),
            receive(1),
            nack(1),
            receive(1),
            nack(2),
            wait("%dead", 1),
            drain("%dead"),
        ],
    ),
    Scenario(
        "rejected",
        [
            queue("%dead"),
            quorum(**TO_DEAD),
            publish("%q", "1", headers={"a": 1}),
            get("%q"),
            reject(1),
            wait("%dead", 1),
            drain("%dead"),
        ],
    ),
    Scenario(
        "expired",
        [
            queue("%dead"),
            quorum(message_ttl=30, **TO_DEAD),
            publish("%q", "1", expiration="10"),
            publish("%q", "2"),
            wait("%dead", 2),
            drain("%dead"),
        ],
    ),
    Scenario(
        "too many",
        [
            queue("%dead"),
            quorum(max_length=2, **TO_DEAD),
            *(publish("%q", str(number)) for number in range(4)),
            wait("%dead", 2),
            wait("%q", 2),
            drain("%q"),
            drain("%dead"),
        ],
    ),
    Scenario(
        "given back to the end or to the beginning",
        [
            quorum(),
            publish("%q", "0"),
            publish("%q", "1"),
            wait("%q", 2),
            get("%q"),
            nack(1),
            wait("%q", 2),
            differs(
                "quorum-requeue-order",
                get("%q"),
                [AGAIN.format("False") + " | headers={x-delivery-count=l:0} | '1'"],
                [AGAIN.format("True") + " | headers={x-delivery-count=l:1} | '0'"],
            ),
        ],
    ),
    Scenario(
        "given back where deliveries are limited",
        [
            quorum(delivery_limit=5),
            *(publish("%q", str(number)) for number in range(4)),
            wait("%q", 4),
            get("%q"),
            get("%q"),
            nack(1),
            wait("%q", 3),
            nack(2),
            wait("%q", 4),
            drain("%q"),
        ],
    ),
    Scenario("recovered", [quorum(), publish("%q", "1"), get("%q"), recover(), wait("%q", 1), drain("%q")]),
    Scenario(
        "purged and deleted",
        [
            quorum(),
            *(publish("%q", str(number)) for number in range(3)),
            wait("%q", 3),
            get("%q"),
            purge("%q"),
            close_channel(),
            wait("%q", 1),
            delete_queue("%q"),
        ],
    ),
    Scenario(
        "deleted if unused or if empty",
        [
            quorum(),
            publish("%q", "1"),
            wait("%q", 1),
            delete_queue("%q", if_empty=True),
            delete_queue("%q", if_unused=True),
        ],
    ),
    Scenario(
        "an exclusive consumer",
        [
            quorum(),
            consume("%q", "a", exclusive=True),
            differs(
                "quorum-exclusive-consumer",
                consume("%q", "b", on="2"),
                ["Basic.ConsumeOk consumer_tag='b'"],
                [
                    "Channel.Close 403 ACCESS_REFUSED - queue '%q' in vhost '/' in exclusive use (60, 20)",
                ],
            ),
        ],
    ),
    Scenario(
        "a consumer is told that its queue is gone", [quorum(), consume("%q"), delete_queue("%q", on="2"), receive(1)]
    ),
]
