"""Direct reply-to."""

from tests.differential.steps import (
    GENERATED_REPLY_TO,
    Scenario,
    ack,
    bind,
    cancel,
    close_channel,
    consume,
    delete_queue,
    differs,
    drain,
    get,
    method,
    open_channel,
    publish,
    purge,
    queue,
    receive,
    unbind,
    wait,
)

PSEUDO = "amq.rabbitmq.reply-to"
REPLY = (
    "Basic.Deliver consumer_tag='replies' delivery_tag={} redelivered=False exchange='' routing_key='<reply-to>' "
    "|  | '2'"
)
REQUESTED = [
    queue("%requests"),
    consume(PSEUDO, "replies", no_ack=True),
    publish("%requests", "request", reply_to=PSEUDO, correlation_id="1"),
    get("%requests", on="2"),
]

SCENARIOS = [
    Scenario(
        "a request and its reply",
        [*REQUESTED, publish(GENERATED_REPLY_TO, "reply", on="2", correlation_id="1", headers={"a": 1}), receive(1)],
    ),
    Scenario(
        "many replies",
        [
            *REQUESTED,
            publish(GENERATED_REPLY_TO, "1", on="2"),
            receive(1),
            differs(
                "reply-to-queue",
                publish(GENERATED_REPLY_TO, "2", on="2", mandatory=True),
                [
                    "Basic.Return reply_code=312 reply_text='NO_ROUTE' exchange='' routing_key='<reply-to>' |  | '2'",
                    "Basic.Ack delivery_tag=2",
                ],
                ["Basic.Ack delivery_tag=2"],
            ),
            differs("reply-to-queue", receive(1), [REPLY.format(1)], [REPLY.format(2)]),
        ],
    ),
    Scenario(
        "a request by the server's own channel",
        [*REQUESTED, publish(GENERATED_REPLY_TO, "to myself"), receive(1)],
    ),
    Scenario(
        "replies over another connection",
        [*REQUESTED, publish(GENERATED_REPLY_TO, "reply", on="other/1"), receive(1)],
    ),
    Scenario(
        "without a consumer",
        [
            queue("%requests"),
            publish("%requests", "1", reply_to=PSEUDO),
            queue("%requests", passive=True),
            drain("%requests"),
        ],
    ),
    Scenario("a consumer that acknowledges", [consume(PSEUDO, "c"), queue("%q")]),
    Scenario("an exclusive consumer", [consume(PSEUDO, "c", no_ack=True, exclusive=True), queue("%q")]),
    Scenario(
        "two consumers on a channel",
        [consume(PSEUDO, "a", no_ack=True), consume(PSEUDO, "b", no_ack=True), queue("%q")],
    ),
    Scenario("the same tag twice", [consume(PSEUDO, "a", no_ack=True), consume(PSEUDO, "a", no_ack=True), queue("%q")]),
    Scenario(
        "two channels",
        [
            queue("%requests"),
            consume(PSEUDO, "a", no_ack=True),
            consume(PSEUDO, "b", no_ack=True, on="2"),
            publish("%requests", "1", reply_to=PSEUDO),
            get("%requests", on="3"),
            publish(GENERATED_REPLY_TO, "to a", on="3"),
            publish("%requests", "2", reply_to=PSEUDO, on="2"),
            get("%requests", on="3"),
            publish(GENERATED_REPLY_TO, "to b", on="3"),
            receive(1),
            receive(1, on="2"),
        ],
    ),
    Scenario(
        "after the consumer was cancelled",
        [
            *REQUESTED,
            cancel("replies"),
            publish(GENERATED_REPLY_TO, "late", on="2", mandatory=True),
            publish("%requests", "x", reply_to=PSEUDO),
        ],
    ),
    Scenario(
        "after the consumer was cancelled and came again",
        [
            *REQUESTED,
            cancel("replies"),
            consume(PSEUDO, "again", no_ack=True),
            publish(GENERATED_REPLY_TO, "late", on="2", mandatory=True),
            receive(),
        ],
    ),
    Scenario(
        "after the channel was closed",
        [
            *REQUESTED,
            close_channel(),
            publish(GENERATED_REPLY_TO, "late", on="2", mandatory=True),
            publish(GENERATED_REPLY_TO, "late", on="2"),
        ],
    ),
    Scenario(
        "is the requester still there",
        [
            *REQUESTED,
            queue(GENERATED_REPLY_TO, passive=True, on="2"),
            queue(GENERATED_REPLY_TO, on="2"),
            close_channel(),
            queue(GENERATED_REPLY_TO, passive=True, on="2"),
        ],
    ),
    Scenario(
        "the pseudo-queue itself",
        [
            queue(PSEUDO, passive=True),
            queue(PSEUDO),
            publish(PSEUDO, "1", mandatory=True),
            get(PSEUDO, no_ack=True),
            get(PSEUDO),
            purge(PSEUDO),
            bind(PSEUDO, "amq.direct", "k"),
            unbind(PSEUDO, "amq.direct", "k"),
            delete_queue(PSEUDO),
        ],
    ),
    Scenario(
        "replies to made-up names",
        [
            publish(PSEUDO + ".nonsense", "1", mandatory=True),
            publish(PSEUDO + ".", "2", mandatory=True),
            queue(PSEUDO + ".nonsense", passive=True),
            consume(PSEUDO + ".nonsense", no_ack=True),
        ],
    ),
    Scenario(
        "a reply-to of the client's own",
        [
            queue("%q"),
            publish("%q", "1", reply_to="%mine"),
            publish("%q", "2", reply_to="amq.rabbitmq.reply-to.mine"),
            drain("%q"),
        ],
    ),
    Scenario(
        "requests in a transaction",
        [
            open_channel(confirm=False),
            queue("%requests"),
            method("Tx.Select"),
            consume(PSEUDO, "replies", no_ack=True),
            publish("%requests", "1", reply_to=PSEUDO),
            wait("%requests", 0),
            method("Tx.Commit"),
            wait("%requests", 1),
            drain("%requests", on="2"),
            publish(GENERATED_REPLY_TO, "reply", on="2"),
            receive(1),
            ack(1),
        ],
    ),
]
