"""Copies by the headers CC and BCC, and alternate exchanges."""

from tests.differential.steps import (
    Scenario,
    bind,
    bind_exchange,
    delete_exchange,
    drain,
    exchange,
    publish,
    queue,
    wait,
)

THREE = [queue("%a"), queue("%b"), queue("%c")]
DRAINED = [drain("%a"), drain("%b"), drain("%c")]
COPIES = (
    {"CC": ["%b"]},
    {"BCC": ["%b"]},
    {"CC": ["%b"], "BCC": ["%c"]},
    {"CC": ["%b", "%c"], "other": 1},
    {"BCC": ["%b", "%c"], "other": 1},
    {"CC": ["%a", "%a", "%b", "%b"]},
    {"CC": []},
    {"BCC": []},
    {"CC": ["%absent"]},
    {"cc": ["%b"]},
    {"CC": ["%b"], "BCC": []},
)
INVALID = ("%b", 5, True, None, {"a": 1}, b"%b", ["%b", 5], [["%b"]], [None], [b"%b"])

ALTERNATE = {"alternate-exchange": "%alternate"}

SCENARIOS = [
    *(
        Scenario(
            f"copies: {headers}",
            [
                *THREE,
                publish("%a", "1", headers=headers),
                publish("%none", "2", mandatory=True, headers=headers),
                *DRAINED,
            ],
        )
        for headers in COPIES
    ),
    *(
        Scenario(
            f"invalid: {name} of {value!r}",
            [
                *THREE,
                publish("%a", "1", headers={name: value}),
                publish("%a", "2", headers={"CC": ["%c"], name: value}),
                *DRAINED,
            ],
        )
        for name in ("CC", "BCC")
        for value in INVALID
    ),
    *(
        Scenario(
            f"copies over an exchange of type {kind}",
            [
                *THREE,
                exchange("%x", kind),
                bind("%a", "%x", "a.1"),
                bind("%b", "%x", "b.1"),
                bind("%c", "%x", "*.1"),
                publish("a.1", "1", "%x", headers={"CC": ["b.1"]}),
                publish("b.1", "2", "%x", headers={"BCC": ["a.1", "x"]}),
                publish("none", "3", "%x", headers={"BCC": ["a.1"]}, mandatory=True),
                *DRAINED,
            ],
        )
        for kind in ("direct", "topic", "fanout", "headers")
    ),
    Scenario(
        "copies over exchanges that are bound to exchanges",
        [
            *THREE,
            exchange("%x", "fanout"),
            exchange("%y", "direct"),
            bind_exchange("%y", "%x"),
            bind("%a", "%y", "a"),
            bind("%b", "%y", "b"),
            publish("a", "1", "%x", headers={"CC": ["b"]}),
            *DRAINED,
        ],
    ),
    Scenario(
        "copies with what must come back",
        [publish("%no", "1", mandatory=True, headers={"CC": ["%x"], "BCC": ["%y"], "z": 1})],
    ),
    Scenario(
        "an alternate exchange",
        [
            *THREE,
            exchange("%alternate", "fanout"),
            exchange("%x", "direct", arguments=ALTERNATE),
            bind("%a", "%x", "a"),
            bind("%b", "%alternate"),
            publish("a", "1", "%x", mandatory=True),
            publish("other", "2", "%x", mandatory=True),
            publish("other", "3", "%x", headers={"CC": ["a"]}),
            publish("other", "4", "%x", headers={"BCC": ["another"]}),
            delete_exchange("%alternate"),
            publish("other", "5", "%x", mandatory=True),
            publish("other", "6", "%x"),
            exchange("%alternate", "fanout"),
            bind("%c", "%alternate"),
            publish("other", "7", "%x", mandatory=True),
            *DRAINED,
        ],
    ),
    Scenario(
        "an alternate exchange that is not there",
        [
            *THREE,
            exchange("%x", arguments=ALTERNATE),
            publish("a", "1", "%x", mandatory=True),
            publish("a", "2", "%x"),
            *DRAINED,
        ],
    ),
    Scenario(
        "alternates of alternates",
        [
            *THREE,
            exchange("%x", "direct", arguments={"alternate-exchange": "%y"}),
            exchange("%y", "direct", arguments={"alternate-exchange": "%z"}),
            exchange("%z", "topic"),
            bind("%a", "%y", "a"),
            bind("%b", "%z", "#"),
            publish("a", "1", "%x"),
            publish("b", "2", "%x"),
            publish("b", "3", "%y"),
            *DRAINED,
        ],
    ),
    Scenario(
        "alternates in a circle",
        [
            *THREE,
            exchange("%x", "direct", arguments={"alternate-exchange": "%y"}),
            exchange("%y", "direct", arguments={"alternate-exchange": "%x"}),
            exchange("%self", "direct", arguments={"alternate-exchange": "%self"}),
            bind("%a", "%y", "a"),
            publish("a", "1", "%x", mandatory=True),
            publish("b", "2", "%x", mandatory=True),
            publish("b", "3", "%self", mandatory=True),
            *DRAINED,
        ],
    ),
    Scenario(
        "an alternate for exchanges only",
        [
            *THREE,
            exchange("%alternate", "fanout", internal=True),
            exchange("%x", "topic", arguments=ALTERNATE),
            bind("%a", "%alternate"),
            publish("a", "1", "%x", mandatory=True),
            *DRAINED,
        ],
    ),
    Scenario(
        "an alternate that is the default exchange",
        [
            *THREE,
            exchange("%x", arguments={"alternate-exchange": ""}),
            publish("%a", "1", "%x", mandatory=True),
            wait("%a", 0),
            *DRAINED,
        ],
    ),
    Scenario(
        "an alternate of an exchange that is bound to an exchange",
        [
            *THREE,
            exchange("%alternate", "fanout"),
            exchange("%inner", "direct", arguments=ALTERNATE),
            exchange("%outer", "fanout"),
            bind_exchange("%inner", "%outer"),
            bind("%a", "%alternate"),
            publish("k", "1", "%outer", mandatory=True),
            *DRAINED,
        ],
    ),
    Scenario(
        "deleting an exchange that is an alternate",
        [
            exchange("%alternate", "fanout"),
            exchange("%x", arguments=ALTERNATE),
            delete_exchange("%alternate", if_unused=True),
            publish("k", "1", "%x"),
        ],
    ),
    Scenario(
        "deleting an exchange that has an alternate",
        [
            exchange("%alternate", "fanout"),
            exchange("%x", arguments=ALTERNATE),
            delete_exchange("%x", if_unused=True),
            publish("k", "1", "%x"),
        ],
    ),
]
