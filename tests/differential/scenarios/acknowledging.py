"""Acknowledgements, rejections and recovery: order, redelivery, and tags that are unknown."""

from tests.differential.steps import (
    Scenario,
    ack,
    close_channel,
    consume,
    drain,
    get,
    method,
    nack,
    open_channel,
    publish,
    qos,
    queue,
    receive,
    recover,
    reject,
    wait,
)

SIX = [queue("%q"), *(publish("%q", str(number)) for number in range(6)), wait("%q", 6)]
SIX_GOT = [*SIX, *(get("%q") for _ in range(6))]

SCENARIOS = [
    *(
        Scenario(
            f"unknown tags: {step}",
            [*SIX, get("%q"), get("%q"), step, queue("%q", passive=True), wait("%q", 6), drain("%q")],
        )
        for step in (
            ack(3),
            ack(3, multiple=True),
            ack(1 << 62),
            nack(3),
            nack(3, multiple=True),
            nack(3, requeue=False),
            reject(3),
            reject(0),
        )
    ),
    *(
        Scenario(f"tag zero: {step}", [*SIX, get("%q"), get("%q"), step, close_channel(), drain("%q")])
        for step in (ack(0), ack(0, multiple=True), nack(0), nack(0, multiple=True), nack(0, True, False))
    ),
    *(
        Scenario(f"nothing is unacknowledged: {step}", [queue("%q"), step, queue("%q", passive=True)])
        for step in (ack(0, multiple=True), nack(0, multiple=True), ack(0), ack(1), ack(1, multiple=True), reject(1))
    ),
    *(
        Scenario(f"acknowledged twice: {first}, {second}", [*SIX_GOT, first, second, queue("%q", passive=True)])
        for first in (ack(2), ack(3, multiple=True), reject(2), nack(2))
        for second in (ack(2), nack(2), reject(2), ack(2, multiple=True))
    ),
    *(
        Scenario(f"requeued in order: {', '.join(map(str, steps))}", [*SIX_GOT, *steps, drain("%q")])
        for steps in (
            [nack(6, multiple=True)],
            [nack(2), nack(5), nack(3)],
            [reject(5, requeue=True), reject(1, requeue=True), reject(3, requeue=True)],
            [nack(3, multiple=True), nack(5)],
            [nack(5), nack(3, multiple=True)],
            [ack(2), nack(4, multiple=True), ack(6, multiple=True)],
            [nack(4, multiple=True, requeue=False), nack(6), nack(5)],
            [recover()],
            [nack(6), recover()],
            [ack(1), reject(3), recover()],
        )
    ),
    Scenario(
        "requeued between those that are ready",
        [*SIX, get("%q"), get("%q"), get("%q"), nack(2), get("%q"), nack(1), nack(3), drain("%q")],
    ),
    Scenario(
        "redelivered again and again",
        [
            queue("%q"),
            publish("%q", "1"),
            *(step for tag in range(1, 5) for step in (get("%q"), nack(tag))),
            drain("%q"),
        ],
    ),
    Scenario(
        "requeued to the same consumer",
        [
            *SIX,
            qos(3),
            consume("%q"),
            receive(3),
            nack(2),
            receive(1),
            nack(4, multiple=True),
            receive(3),
            recover(),
            receive(3),
        ],
    ),
    Scenario(
        "recovered for the same consumer without requeueing",
        [*SIX, qos(2), consume("%q"), receive(2), recover(requeue=False), receive()],
    ),
    Scenario(
        "recovery of what was got and of what was delivered",
        [*SIX, get("%q"), qos(1), consume("%q"), receive(1), recover(), receive(1), ack(3), receive()],
    ),
    Scenario("recovery of nothing", [recover(), method("Basic.RecoverAsync", requeue=True), recover(requeue=False)]),
    Scenario("recovery without an answer", [*SIX_GOT, method("Basic.RecoverAsync", requeue=True), drain("%q")]),
    Scenario(
        "two channels get and give back",
        [
            *SIX,
            get("%q"),
            get("%q", on="2"),
            get("%q"),
            get("%q", on="2"),
            nack(2),
            nack(1, on="2"),
            close_channel(on="2"),
            close_channel(),
            wait("%q", 6),
            drain("%q"),
        ],
    ),
    Scenario("tags of another channel", [*SIX, get("%q"), ack(1, on="2"), ack(1), wait("%q", 5)]),
    Scenario("tags of a get without acknowledgement", [*SIX, get("%q", no_ack=True), ack(1), wait("%q", 5)]),
    Scenario(
        "messages are rejected on a channel without confirms",
        [*SIX, open_channel("2", confirm=False), get("%q", on="2"), reject(1, requeue=True, on="2"), drain("%q")],
    ),
]
