"""Bindings and routing over the four types of exchange, and over exchanges that are bound to exchanges."""

from typing import Any

from tests.differential.steps import (
    Scenario,
    bind,
    bind_exchange,
    delete_exchange,
    differs,
    drain,
    exchange,
    publish,
    queue,
    unbind,
    unbind_exchange,
)

TOPIC_PATTERNS = ("#", "*", "*.*", "#.#", "a.#", "#.b", "a.*.b", "a.#.b", "*.#.*", "", "a..b", "a", "#.*", "*.#", "a.*")
TOPIC_KEYS = ("", "a", "b", "a.b", "a.a.b", "a.x.b", "a..b", ".", "a.", ".b", "a.b.c.d", "#", "*", "A.b")
MATCHES: tuple[dict[str, Any], ...] = (
    {"x-match": "all", "a": 1},
    {"x-match": "all", "a": 1, "b": "two"},
    {"x-match": "any", "a": 1, "b": "two"},
    {"x-match": "all"},
    {"x-match": "any"},
    {"x-match": "all", "a": None},
    {"x-match": "all", "a": ("l", 1)},
    {"x-match": "all", "a": "1"},
    {"x-match": "all", "x-ignored": 1},
    {"x-match": "all", "a": True},
    {"x-match": "all", "t": {"x": 1}},
    {"x-match": "any", "t": [1, 2]},
    {"a": 1},
    {},
)
HEADERS: tuple[dict[str, Any], ...] = (
    {},
    {"a": 1},
    {"a": ("l", 1)},
    {"a": ("b", 1)},
    {"a": "1"},
    {"a": 1, "b": "two"},
    {"b": "two"},
    {"a": None},
    {"a": True},
    {"x-ignored": 1},
    {"t": {"x": 1}},
    {"t": [1, 2]},
    {"a": 2, "b": "two", "c": 3},
)

SCENARIOS = [
    *(
        Scenario(
            f"binding twice and unbinding twice from {kind}",
            [
                queue("%q"),
                exchange("%x", kind),
                bind("%q", "%x", "k"),
                bind("%q", "%x", "k"),
                bind("%q", "%x", "k", {"a": 1}),
                publish("k", "1", "%x", headers={"a": 1}),
                unbind("%q", "%x", "k"),
                publish("k", "2", "%x", mandatory=True),
                unbind("%q", "%x", "k"),
                unbind("%q", "%x", "k", {"a": 2}),
                unbind("%q", "%x", "other"),
                unbind("%q", "%x", "k", {"a": 1}),
                publish("k", "3", "%x", mandatory=True),
                drain("%q"),
            ],
        )
        for kind in ("direct", "fanout", "topic", "headers")
    ),
    *(
        Scenario(
            f"topic pattern {pattern!r}",
            [
                queue("%q"),
                exchange("%x", "topic"),
                bind("%q", "%x", pattern),
                *(publish(key, key, "%x", mandatory=True) for key in TOPIC_KEYS),
                drain("%q"),
            ],
        )
        for pattern in TOPIC_PATTERNS
    ),
    Scenario(
        "many topic patterns of one queue bring a message once",
        [
            queue("%q"),
            exchange("%x", "topic"),
            *(bind("%q", "%x", pattern) for pattern in TOPIC_PATTERNS),
            *(publish(key, key, "%x") for key in TOPIC_KEYS),
            unbind("%q", "%x", "#"),
            unbind("%q", "%x", "#.#"),
            *(publish(key, key, "%x", mandatory=True) for key in TOPIC_KEYS),
            drain("%q"),
        ],
    ),
    *(
        Scenario(
            f"headers {arguments}",
            [
                queue("%q"),
                exchange("%x", "headers"),
                bind("%q", "%x", "", arguments),
                *(
                    publish("", str(number), "%x", mandatory=True, headers=headers)
                    for number, headers in enumerate(HEADERS)
                ),
                publish("", "without any", "%x", mandatory=True),
                drain("%q"),
            ],
        )
        for arguments in MATCHES
    ),
    Scenario(
        "a header that is the same number as a float",
        [
            queue("%q"),
            exchange("%x", "headers"),
            bind("%q", "%x", "", {"x-match": "all", "a": 1}),
            differs(
                "headers-numbers",
                publish("", "1", "%x", mandatory=True, headers={"a": 1.0}),
                ["Basic.Ack delivery_tag=1"],
                [
                    "Basic.Return reply_code=312 reply_text='NO_ROUTE' exchange='%x' routing_key='' "
                    "| headers={a=d:1.0} | '1'",
                    "Basic.Ack delivery_tag=1",
                ],
            ),
            bind("%q", "%x", "", {"x-match": "all", "b": 2.5}),
            publish("", "2", "%x", mandatory=True, headers={"b": 2.5}),
            publish("", "3", "%x", mandatory=True, headers={"b": ("f", 2.5)}),
        ],
    ),
    Scenario(
        "headers that also match those with x-",
        [
            queue("%q"),
            exchange("%x", "headers"),
            bind("%q", "%x", "", {"x-match": "all-with-x", "x-a": 1}),
            bind("%q", "%x", "", {"x-match": "any-with-x", "x-a": 2, "b": 1}),
            publish("", "1", "%x", mandatory=True, headers={"x-a": 1}),
            publish("", "2", "%x", mandatory=True, headers={"x-a": 2}),
            publish("", "3", "%x", mandatory=True, headers={"b": 1}),
            publish("", "4", "%x", mandatory=True, headers={"x-a": 3}),
            drain("%q"),
        ],
    ),
    Scenario(
        "an x-match that is invalid",
        [
            queue("%q"),
            exchange("%x", "headers"),
            *(bind("%q", "%x", "", {"x-match": value}) for value in ("some", "", "ALL", 5, True, None, ["all"])),
        ],
    ),
    Scenario(
        "the default exchange",
        [
            queue("%q"),
            bind("%q", "", "k"),
            unbind("%q", "", "%q"),
            bind_exchange("", "amq.direct"),
            bind_exchange("amq.direct", ""),
            unbind_exchange("", "amq.direct"),
            publish("%q", "1"),
            publish("%absent", "2", mandatory=True),
            publish("", "3", mandatory=True),
            drain("%q"),
        ],
    ),
    Scenario(
        "exchanges that are bound to exchanges",
        [
            exchange("%a", "fanout"),
            exchange("%b", "topic"),
            exchange("%c", "direct"),
            queue("%q"),
            queue("%r"),
            bind_exchange("%b", "%a"),
            bind_exchange("%b", "%a"),
            bind_exchange("%c", "%b", "x.*"),
            bind_exchange("%a", "%c", "x.y"),
            bind("%q", "%c", "x.y"),
            bind("%r", "%b", "#"),
            bind("%r", "%a"),
            publish("x.y", "1", "%a"),
            publish("x.z", "2", "%a"),
            publish("y", "3", "%b"),
            publish("x.y", "4", "%c", mandatory=True),
            publish("x.z", "5", "%c", mandatory=True),
            unbind_exchange("%b", "%a", "other"),
            unbind_exchange("%b", "%a"),
            publish("x.y", "6", "%a"),
            delete_exchange("%b"),
            publish("x.y", "7", "%a"),
            drain("%q"),
            drain("%r"),
        ],
    ),
    Scenario(
        "an exchange that is bound to itself",
        [
            exchange("%x", "fanout"),
            queue("%q"),
            bind_exchange("%x", "%x"),
            bind("%q", "%x"),
            publish("k", "1", "%x"),
            delete_exchange("%x", if_unused=True),
            drain("%q"),
        ],
    ),
    Scenario(
        "an exclusive queue of another connection",
        [
            queue("%q", exclusive=True, on="other/1"),
            exchange("%x"),
            bind("%q", "%x", "k", on="other/1"),
            bind("%q", "%x", "k"),
            unbind("%q", "%x", "k"),
            unbind("%q", "%x", "not bound"),
            unbind("%q", "%absent", "k"),
            publish("k", "1", "%x", mandatory=True),
            drain("%q", on="other/1"),
        ],
    ),
    Scenario(
        "bindings go with the exchange",
        [
            exchange("%x", "fanout"),
            queue("%q"),
            bind("%q", "%x"),
            delete_exchange("%x"),
            exchange("%x", "fanout"),
            publish("", "1", "%x", mandatory=True),
            unbind("%q", "%x"),
        ],
    ),
]
