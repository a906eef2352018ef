"""Transactions: publishes and acknowledgements that wait for the commit."""

from tests.differential.steps import (
    Scenario,
    ack,
    close_channel,
    consume,
    delete_exchange,
    differs,
    drain,
    exchange,
    get,
    method,
    nack,
    open_channel,
    publish,
    queue,
    receive,
    recover,
    reject,
    wait,
)

BEGIN = [open_channel(confirm=False), method("Tx.Select"), queue("%q")]
COMMIT, ROLLBACK = method("Tx.Commit"), method("Tx.Rollback")
PUBLISHED = [publish("%q", str(number)) for number in range(3)]

SCENARIOS = [
    Scenario("publishes", [*BEGIN, *PUBLISHED, get("%q"), COMMIT, wait("%q", 3), *PUBLISHED, ROLLBACK, drain("%q")]),
    Scenario(
        "acknowledgements",
        [
            *BEGIN,
            *PUBLISHED,
            COMMIT,
            get("%q"),
            get("%q"),
            get("%q"),
            ack(1),
            nack(2),
            reject(3),
            wait("%q", 0),
            COMMIT,
            wait("%q", 1),
            drain("%q"),
        ],
    ),
    Scenario(
        "acknowledgements that are rolled back",
        [
            *BEGIN,
            *PUBLISHED,
            COMMIT,
            get("%q"),
            get("%q"),
            ack(1),
            nack(2),
            ROLLBACK,
            ack(1),
            COMMIT,
            close_channel(),
            drain("%q"),
        ],
    ),
    Scenario(
        "acknowledging twice in one transaction", [*BEGIN, *PUBLISHED, COMMIT, get("%q"), ack(1), ack(1), drain("%q")]
    ),
    Scenario("an unknown tag in a transaction", [*BEGIN, *PUBLISHED, ack(1), COMMIT, drain("%q")]),
    Scenario(
        "all that is unacknowledged, in a transaction",
        [
            *BEGIN,
            *PUBLISHED,
            COMMIT,
            get("%q"),
            get("%q"),
            ack(0, multiple=True),
            ROLLBACK,
            nack(0, multiple=True),
            COMMIT,
            drain("%q"),
        ],
    ),
    Scenario(
        "what cannot be routed comes back at the commit",
        [*BEGIN, publish("%no", "1", mandatory=True), COMMIT, receive()],
    ),
    Scenario("what cannot be routed, rolled back", [*BEGIN, publish("%no", "1", mandatory=True), ROLLBACK, receive()]),
    Scenario("an exchange that does not exist", [*BEGIN, *PUBLISHED, publish("k", "1", "%x"), wait("%q", 0)]),
    Scenario(
        "an exchange that is deleted before the commit",
        [
            *BEGIN,
            exchange("%x"),
            publish("k", "1", "%x"),
            publish("%q", "2"),
            delete_exchange("%x", on="2"),
            differs(
                "tx-exchange-gone",
                COMMIT,
                ["Tx.CommitOk"],
                ["Channel.Close 404 NOT_FOUND - no exchange '%x' in vhost '/' (90, 20)"],
            ),
            receive(),
        ],
    ),
    Scenario("without a transaction", [open_channel(confirm=False), COMMIT, ROLLBACK]),
    Scenario("after confirms were chosen", [method("Tx.Select"), COMMIT]),
    Scenario("confirms after a transaction", [*BEGIN, method("Confirm.Select"), queue("%q")]),
    Scenario("selected twice", [*BEGIN, publish("%q", "1"), method("Tx.Select"), COMMIT, drain("%q")]),
    Scenario("empty", [*BEGIN, COMMIT, COMMIT, ROLLBACK, ROLLBACK]),
    Scenario("a channel that closes rolls back", [*BEGIN, *PUBLISHED, close_channel(), wait("%q", 0)]),
    Scenario(
        "recovery in a transaction",
        [*BEGIN, *PUBLISHED, COMMIT, get("%q"), get("%q"), ack(1), recover(), COMMIT, drain("%q")],
    ),
    Scenario(
        "deliveries in a transaction",
        [*BEGIN, consume("%q"), *PUBLISHED, COMMIT, receive(3), ack(2, multiple=True), ROLLBACK, recover(), receive(3)],
    ),
]
