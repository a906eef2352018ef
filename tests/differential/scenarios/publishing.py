"""Publishing: returns, properties, contents, and what is refused."""

from tests.differential.steps import (
    Scenario,
    differs,
    drain,
    exchange,
    get,
    open_channel,
    publish,
    queue,
)

ALL_PROPERTIES = {
    "content_type": "text/plain",
    "content_encoding": "utf-8",
    "headers": {"a": 1},
    "delivery_mode": 2,
    "priority": 7,
    "correlation_id": "c",
    "reply_to": "r",
    "message_id": "m",
    "timestamp": 1_700_000_000,
    "type": "t",
    "user_id": "guest",
    "app_id": "a",
    "cluster_id": "d",
}
EVERY_HEADER_TYPE = {
    "t": True,
    "f": False,
    "b": ("b", -5),
    "B": ("B", 250),
    "s": ("s", -300),
    "u": ("u", 60_000),
    "I": ("I", -70_000),
    "i": ("i", 4_000_000_000),
    "l": ("l", -(1 << 60)),
    "f32": ("f", 0.5),
    "d": 0.1,
    "D": ("D", (2, 12345)),
    "S": "ä string",
    "x": b"bytes",
    "T": ("T", 1_700_000_000),
    "F": {"inner": {"deep": [1, "two", None, {"x": ("u", 3)}]}, "empty": {}},
    "A": [1, ("l", 2), "three", [4.0, []], {"five": 5}, None, True],
    "V": None,
    "": "no name",
}

GOT = "Basic.GetOk delivery_tag=1 redelivered=False exchange='' routing_key='%q' message_count=0"

SCENARIOS = [
    Scenario(
        "what cannot be routed comes back when it must be routed",
        [
            publish("%q", "1"),
            publish("%q", "2", mandatory=True, **ALL_PROPERTIES),
            publish("%q", "3", "amq.direct", mandatory=True, headers=EVERY_HEADER_TYPE),
            publish("%q", "x" * 200_000, "amq.topic", mandatory=True),
            queue("%q"),
            publish("%q", "4", mandatory=True),
            open_channel("2", confirm=False),
            publish("%absent", "5", mandatory=True, on="2"),
            publish("%q", "6", mandatory=True, on="2"),
            drain("%q"),
        ],
    ),
    Scenario("an immediate publish", [queue("%q"), publish("%q", "1", immediate=True), queue("%q", passive=True)]),
    Scenario("an exchange that does not exist", [publish("k", "1", "%x"), publish("k", "2", "%x", mandatory=True)]),
    Scenario(
        "properties and headers pass as they are",
        [
            queue("%q"),
            publish("%q", ""),
            publish("%q", "1", **ALL_PROPERTIES),
            publish("%q", "2", headers=EVERY_HEADER_TYPE),
            publish("%q", "3", headers={}),
            publish("%q", "4", delivery_mode=1),
            publish("%q", "5", delivery_mode=1, priority=255, timestamp=0, content_type=""),
            publish("%q", "6" * 300_000, content_type="x" * 255),
            drain("%q"),
        ],
    ),
    Scenario(
        "the user's name in a message",
        [
            queue("%q"),
            publish("%q", "1", user_id="guest"),
            publish("%q", "2", user_id="someone"),
            publish("%q", "3", user_id=""),
            drain("%q"),
        ],
    ),
    Scenario(
        "a message that is too large",
        [queue("%q"), publish("%q", "x" * (1 << 20)), drain("%q"), publish("%q", "x" * ((1 << 20) + 1))],
    ),
    *(
        Scenario(
            f"a delivery mode that does not exist: {mode}",
            [
                queue("%q"),
                differs(
                    "unknown-delivery-mode",
                    publish("%q", "1", delivery_mode=mode),
                    [
                        "Channel.Close 406 PRECONDITION_FAILED - invalid message: "
                        f"{{delivery_mode_unknown,{mode}}} (60, 40)"
                    ],
                    ["Basic.Ack delivery_tag=1"],
                ),
                differs(
                    "unknown-delivery-mode",
                    get("%q", no_ack=True),
                    ["Basic.GetEmpty cluster_id=''"],
                    [f"{GOT} | delivery_mode={mode} | '1'"],
                ),
            ],
        )
        for mode in (0, 3, 255)
    ),
    Scenario(
        "the default exchange with bindings of its own making only",
        [exchange("%x", "fanout"), publish("%x", "1", mandatory=True), queue("%x"), publish("%x", "2"), drain("%x")],
    ),
]
