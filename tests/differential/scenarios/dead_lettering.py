"""Dead-lettering: every reason, the header that tells of it, chains, cycles, and copies."""

from typing import Any

from tests.differential.scenarios.publishing import ALL_PROPERTIES, EVERY_HEADER_TYPE
from tests.differential.steps import (
    Scenario,
    Step,
    ack,
    bind,
    consume,
    delete_exchange,
    delete_queue,
    drain,
    exchange,
    get,
    nack,
    publish,
    purge,
    qos,
    queue,
    receive,
    reject,
    wait,
)

SOON_MS = 30


def dead_letters(name: str, to: str = "", key: str | None = None, **arguments: Any) -> Step:
    """A queue that dead-letters."""
    keys = {} if key is None else {"x-dead-letter-routing-key": key}
    return queue(name, arguments={"x-dead-letter-exchange": to, **keys, **arguments})


def chain(length: int, reason: str) -> list[Step]:
    """A message that goes through so many queues, each time for this reason."""
    arguments = {"expired": {"x-message-ttl": 5}, "maxlen": {"x-max-length": 0}, "rejected": {}}[reason]
    steps = [queue(f"%{length}")]
    steps += [dead_letters(f"%{number}", "", f"%{number + 1}", **arguments) for number in range(length)]
    steps.append(publish("%0", "1", **{**ALL_PROPERTIES, "headers": EVERY_HEADER_TYPE}))
    if reason == "rejected":
        for number in range(length):
            steps += [wait(f"%{number}", 1), get(f"%{number}"), reject(number + 1)]
    return [*steps, wait(f"%{length}", 1), drain(f"%{length}")]


def rejected_cycle(rounds: int, *steps: Step) -> list[Step]:
    """Two queues that dead-letter to each other; the message is rejected so many times."""
    found = [dead_letters("%a", "", "%b"), dead_letters("%b", "", "%a"), *steps]
    for number in range(rounds):
        name = "%" + "ab"[number % 2]
        found += [wait(name, 1), get(name), reject(number + 1)]
    last = "%" + "ab"[rounds % 2]
    return [*found, wait(last, 1), drain(last)]


SCENARIOS = [
    *(
        Scenario(f"a chain of {length}: {reason}", chain(length, reason))
        for reason in ("rejected", "expired", "maxlen")
        for length in (1, 2, 3, 10)
    ),
    Scenario(
        "a chain of reasons",
        [
            queue("%d"),
            dead_letters("%a", "", "%b"),
            dead_letters("%b", "", "%c", **{"x-message-ttl": 5}),
            dead_letters("%c", "", "%d", **{"x-max-length": 0}),
            publish("%a", "1", expiration="60000"),
            get("%a"),
            nack(1, requeue=False),
            wait("%d", 1),
            drain("%d"),
        ],
    ),
    Scenario("rejected twice by the same queue", rejected_cycle(2, publish("%a", "1"))),
    Scenario("rejected five times by two queues", rejected_cycle(5, publish("%a", "1", headers={"own": 1}))),
    Scenario(
        "rejected by one queue into itself",
        [
            dead_letters("%q", "", "%q"),
            publish("%q", "1"),
            *(step for tag in range(1, 5) for step in (wait("%q", 1), get("%q"), reject(tag))),
            wait("%q", 1),
            drain("%q"),
        ],
    ),
    Scenario(
        "expired into itself: a cycle that ends",
        [
            dead_letters("%q", "", "%q", **{"x-message-ttl": 5}),
            queue("%clock"),
            publish("%clock", expiration="100"),
            publish("%q", "1"),
            wait("%clock", 0),
            wait("%q", 0),
        ],
    ),
    Scenario(
        "expired in a cycle of two",
        [
            dead_letters("%a", "", "%b", **{"x-message-ttl": 5}),
            dead_letters("%b", "", "%a", **{"x-message-ttl": 5}),
            queue("%clock"),
            publish("%clock", expiration="100"),
            publish("%a", "1"),
            wait("%clock", 0),
            wait("%a", 0),
            wait("%b", 0),
        ],
    ),
    Scenario(
        "too many in a cycle",
        [
            dead_letters("%q", "", "%q", **{"x-max-length": 1}),
            publish("%q", "1"),
            publish("%q", "2"),
            wait("%q", 1),
            drain("%q"),
        ],
    ),
    Scenario(
        "a cycle with a rejection in it goes on",
        [
            dead_letters("%wait", "", "%work", **{"x-message-ttl": SOON_MS}),
            dead_letters("%work", "", "%wait"),
            publish("%work", "1"),
            *(step for tag in range(1, 4) for step in (wait("%work", 1), get("%work"), reject(tag))),
            wait("%work", 1),
            drain("%work"),
        ],
    ),
    Scenario(
        "an expiration is removed, and kept in the header",
        [
            queue("%dead"),
            dead_letters("%q", "", "%dead"),
            publish("%q", "1", expiration=str(SOON_MS)),
            wait("%dead", 1),
            drain("%dead"),
            publish("%q", "2", expiration="60000"),
            get("%q"),
            reject(2),
            wait("%dead", 1),
            drain("%dead"),
        ],
    ),
    Scenario(
        "without a routing key its own is kept",
        [
            exchange("%x", "topic"),
            queue("%dead"),
            bind("%dead", "%x", "#"),
            dead_letters("%q", "%x"),
            bind("%q", "amq.direct", "%key"),
            publish("%key", "1", "amq.direct"),
            publish("%q", "2"),
            get("%q"),
            get("%q"),
            nack(2, multiple=True, requeue=False),
            wait("%dead", 2),
            drain("%dead"),
        ],
    ),
    Scenario(
        "a routing key that is empty",
        [
            exchange("%x", "topic"),
            queue("%dead"),
            bind("%dead", "%x", "#"),
            dead_letters("%q", "%x", ""),
            publish("%q", "1"),
            get("%q"),
            reject(1),
            wait("%dead", 1),
            drain("%dead"),
        ],
    ),
    Scenario(
        "an exchange that is not there",
        [
            dead_letters("%q", "%absent"),
            publish("%q", "1"),
            get("%q"),
            reject(1),
            wait("%q", 0),
            publish("%q", "2"),
            drain("%q"),
        ],
    ),
    Scenario(
        "an exchange that comes later and goes again",
        [
            dead_letters("%q", "%x", "%dead"),
            queue("%dead"),
            publish("%q", "1"),
            get("%q"),
            reject(1),
            exchange("%x", "fanout"),
            bind("%dead", "%x"),
            publish("%q", "2"),
            get("%q"),
            reject(2),
            wait("%dead", 1),
            delete_exchange("%x"),
            publish("%q", "3"),
            get("%q"),
            reject(3),
            wait("%dead", 1),
            drain("%dead"),
        ],
    ),
    Scenario(
        "no queue is bound there",
        [
            exchange("%x", "fanout"),
            dead_letters("%q", "%x"),
            publish("%q", "1"),
            get("%q"),
            reject(1),
            wait("%q", 0),
        ],
    ),
    Scenario(
        "an exchange for exchanges only, with an alternate",
        [
            exchange("%alternate", "fanout"),
            exchange("%x", "direct", internal=True, arguments={"alternate-exchange": "%alternate"}),
            queue("%dead"),
            bind("%dead", "%alternate"),
            dead_letters("%q", "%x"),
            publish("%q", "1"),
            get("%q"),
            reject(1),
            wait("%dead", 1),
            drain("%dead"),
        ],
    ),
    Scenario(
        "to several queues",
        [
            exchange("%x", "fanout"),
            *(queue(f"%dead-{number}") for number in range(3)),
            *(bind(f"%dead-{number}", "%x") for number in range(3)),
            dead_letters("%q", "%x"),
            publish("%q", "1"),
            get("%q"),
            reject(1),
            *(wait(f"%dead-{number}", 1) for number in range(3)),
            *(drain(f"%dead-{number}") for number in range(3)),
        ],
    ),
    Scenario(
        "many at once keep their order",
        [
            queue("%dead"),
            dead_letters("%q", "", "%dead"),
            *(publish("%q", str(number)) for number in range(6)),
            *(get("%q") for _ in range(6)),
            nack(2, requeue=False),
            nack(6, multiple=True, requeue=False),
            wait("%dead", 6),
            drain("%dead"),
        ],
    ),
    Scenario(
        "purging and deleting do not dead-letter",
        [
            queue("%dead"),
            dead_letters("%q", "", "%dead"),
            publish("%q", "1"),
            publish("%q", "2"),
            get("%q"),
            purge("%q"),
            delete_queue("%q"),
            wait("%dead", 0),
        ],
    ),
    Scenario(
        "to a consumer",
        [
            queue("%dead"),
            consume("%dead", "c"),
            dead_letters("%q", "", "%dead"),
            qos(1),
            consume("%q", "q", on="2"),
            publish("%q", "1"),
            receive(1, on="2"),
            nack(1, requeue=False, on="2"),
            receive(1),
            ack(1),
        ],
    ),
    *(
        Scenario(
            f"copies to {headers}",
            [
                exchange("%x", "topic"),
                queue("%dead"),
                bind("%dead", "%x", "#"),
                dead_letters("%q", "%x", key),
                dead_letters("%r", "%x", key),
                queue("%s"),
                publish("%q", "1", headers=headers),
                get("%q"),
                reject(1),
                wait("%dead", 1),
                get("%r"),
                drain("%s"),
                drain("%dead"),
            ],
        )
        for headers in ({"CC": ["%s"]}, {"BCC": ["%s"]}, {"CC": ["%r"], "BCC": ["%s"], "other": 1})
        for key in (None,)
    ),
    *(
        Scenario(
            f"copies to {headers} with a key of its own",
            [
                exchange("%x", "topic"),
                queue("%dead"),
                queue("%s"),
                bind("%dead", "%x", "#"),
                dead_letters("%q", "%x", "%s"),
                publish("%q", "1", headers=headers),
                get("%q"),
                reject(1),
                wait("%dead", 1),
                drain("%s"),
                drain("%dead"),
            ],
        )
        for headers in ({"BCC": ["%s"]},)
    ),
    Scenario(
        "copies are routed again when dead-lettered with their own keys",
        [
            queue("%dead-q"),
            queue("%dead-cc"),
            exchange("%x", "direct"),
            bind("%dead-q", "%x", "%q"),
            bind("%dead-cc", "%x", "%cc"),
            dead_letters("%q", "%x"),
            publish("%q", "1", headers={"CC": ["%cc"]}),
            get("%q"),
            reject(1),
            wait("%dead-q", 1),
            wait("%dead-cc", 1),
            drain("%dead-q"),
            drain("%dead-cc"),
        ],
    ),
    Scenario(
        "a message without headers keeps its properties",
        [
            queue("%dead"),
            dead_letters("%q", "", "%dead"),
            publish("%q", "1", delivery_mode=2, priority=3, timestamp=5, user_id="guest", reply_to="r", type="t"),
            get("%q"),
            reject(1),
            wait("%dead", 1),
            drain("%dead"),
        ],
    ),
    Scenario(
        "a rejection that requeues does not dead-letter",
        [
            queue("%dead"),
            dead_letters("%q", "", "%dead"),
            publish("%q", "1"),
            get("%q"),
            reject(1, requeue=True),
            get("%q"),
            nack(2, requeue=True),
            wait("%q", 1),
            wait("%dead", 0),
            drain("%q"),
        ],
    ),
    Scenario(
        "dead-lettering of acknowledgements in a transaction",
        [
            queue("%dead"),
            dead_letters("%q", "", "%dead"),
            publish("%q", "1"),
            Step("open_channel", {"confirm": False}, "2"),
            Step("Tx.Select", {}, "2"),
            get("%q", on="2"),
            reject(1, on="2"),
            wait("%dead", 0),
            Step("Tx.Commit", {}, "2"),
            wait("%dead", 1),
            drain("%dead"),
        ],
    ),
    Scenario(
        "expired and rejected at the same queue are two entries",
        [
            queue("%dead"),
            dead_letters("%q", "", "%dead", **{"x-message-ttl": 150}),
            dead_letters("%back", "", "%q"),
            publish("%q", "1"),
            get("%q"),
            reject(1),
            wait("%dead", 1),
            get("%dead"),
            ack(2),
            publish("%q", "2"),
            wait("%dead", 1),
            drain("%dead"),
        ],
    ),
    Scenario(
        "back into the first queue through a third one",
        [
            dead_letters("%a", "", "%b"),
            dead_letters("%b", "", "%c"),
            dead_letters("%c", "", "%a"),
            publish("%a", "1", "", correlation_id="x"),
            get("%a"),
            reject(1),
            wait("%b", 1),
            get("%b"),
            reject(2),
            wait("%c", 1),
            get("%c"),
            reject(3),
            wait("%a", 1),
            get("%a"),
            reject(4),
            wait("%b", 1),
            drain("%b"),
        ],
    ),
]
