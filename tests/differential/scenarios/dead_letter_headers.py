"""The headers that tell of dead letters: what they say, and what becomes of a client's own."""

from typing import Any

from tests.differential.scenarios.dead_lettering import dead_letters
from tests.differential.steps import Scenario, Step, differs, drain, get, publish, queue, reject, wait


def rejected(headers: dict[str, Any] | None = None, **properties: Any) -> list[Step]:
    """A message is rejected once, and is in the queue of dead letters."""
    if headers is not None:
        properties["headers"] = headers
    return [
        queue("%dead"),
        dead_letters("%q", "", "%dead"),
        publish("%q", "1", **properties),
        get("%q"),
        reject(1),
        wait("%dead", 1),
    ]


GOT = "Basic.GetOk delivery_tag=2 redelivered=False exchange='' routing_key='%dead' message_count=0"
DEATH = "F{count=l:1, reason=S:'rejected', queue=S:'%q', time=T:<time>, exchange=S:'', routing-keys=A[S:'%q']}"
SORTED_DEATH = "F{count=l:1, exchange=S:'', queue=S:'%q', reason=S:'rejected', routing-keys=A[S:'%q'], time=T:<time>}"
COPIED_DEATH = DEATH.replace("A[S:'%q']", "A[S:'%q', S:'%s', S:'%t']")
FIRST = "x-first-death-exchange=S:'', x-first-death-queue=S:'%q', x-first-death-reason=S:'rejected'"
LAST = FIRST.replace("first", "last")

SCENARIOS = [
    *(
        Scenario(
            f"a header x-death of the client's own: {value!r}",
            [
                *rejected({"x-death": value, "a": 1}),
                differs(
                    "deaths-of-clients",
                    get("%dead"),
                    [f"{GOT} | headers={{a=I:1, x-death=A[{theirs}]}} | '1'"],
                    [f"{GOT} | headers={{a=I:1, x-death=A[{DEATH}], {FIRST}, {LAST}}} | '1'"],
                ),
            ],
        )
        for value, theirs in (
            ([], SORTED_DEATH),
            ("text", DEATH),
            (5, DEATH),
            (None, DEATH),
            ({"a": 1}, DEATH),
            ([{"queue": "%q", "reason": "rejected"}], "F{count=l:1, queue=S:'%q', reason=S:'rejected'}"),
            (
                [{"queue": "%other", "reason": "expired", "count": ("l", 3)}],
                SORTED_DEATH + ", F{queue=S:'%other', reason=S:'expired', count=l:3}",
            ),
            (
                [{"queue": "%q", "reason": "rejected", "count": ("l", 7), "exchange": "", "routing-keys": ["%q"]}],
                "F{count=l:8, exchange=S:'', queue=S:'%q', reason=S:'rejected', routing-keys=A[S:'%q']}",
            ),
        )
    ),
    Scenario(
        "the headers that tell of a death",
        [
            *rejected(),
            differs(
                "last-death-headers",
                get("%dead"),
                [f"{GOT} | headers={{x-death=A[{DEATH}], {FIRST}}} | '1'"],
                [f"{GOT} | headers={{x-death=A[{DEATH}], {FIRST}, {LAST}}} | '1'"],
            ),
        ],
    ),
    Scenario(
        "the fields of a death",
        [
            *rejected(expiration="60000"),
            differs(
                "death-fields",
                get("%dead"),
                [f"{GOT} | headers={{x-death=A[{DEATH[:-1]}, original-expiration=S:'60000'}}], {FIRST}}} | '1'"],
                [
                    f"{GOT} | headers={{x-death=A[F{{original-expiration=S:'60000', {DEATH[2:]}], {FIRST}, {LAST}}} "
                    "| '1'"
                ],
            ),
        ],
    ),
    Scenario(
        "the order of deaths",
        [
            dead_letters("%q", "", "%b"),
            dead_letters("%b", "", "%c"),
            dead_letters("%c", "", "%dead"),
            queue("%dead"),
            publish("%q", "1"),
            get("%q"),
            reject(1),
            wait("%b", 1),
            get("%b"),
            reject(2),
            wait("%c", 1),
            get("%c"),
            reject(3),
            wait("%dead", 1),
            differs(
                "deaths-by-recency",
                get("%dead"),
                [
                    f"{GOT.replace('=2', '=4')} | headers={{x-death=A[{SORTED_DEATH.replace('%q', '%c')}, {DEATH}, "
                    f"{SORTED_DEATH.replace('%q', '%b')}], {FIRST}}} | '1'"
                ],
                [
                    f"{GOT.replace('=2', '=4')} | headers={{x-death=A[{DEATH.replace('%q', '%c')}, "
                    f"{DEATH.replace('%q', '%b')}, {DEATH}], {FIRST}, {LAST.replace('%q', '%c')}}} | '1'"
                ],
            ),
        ],
    ),
    Scenario(
        "copies of a message that is dead-lettered with a key of its own",
        [
            *rejected({"CC": ["%s", "%t"]}),
            differs(
                "dead-letters-keep-cc",
                get("%dead"),
                [f"{GOT} | headers={{x-death=A[{COPIED_DEATH}], {FIRST}}} | '1'"],
                [f"{GOT} | headers={{CC=A[S:'%s', S:'%t'], x-death=A[{COPIED_DEATH}], {FIRST}, {LAST}}} | '1'"],
            ),
        ],
    ),
    *(
        Scenario(
            f"headers of the client's own with the broker's names: {name}",
            [
                queue("%dead"),
                dead_letters("%q", "", "%dead"),
                publish("%q", "1", headers={name: "mine"}),
                get("%q"),
                reject(1),
                wait("%dead", 1),
                drain("%dead"),
            ],
        )
        for name in ("x-first-death-queue", "x-first-death-reason", "x-delivery-count")
    ),
]
