"""AMQP 0-9-1 with RabbitMQ's extensions, as one table.

Everything else about methods follows from it: the classes in ``methods`` are generated, the codec is driven by it.
An argument whose name begins with ``reserved`` is on the wire, empty, and nowhere else.
"""

from typing import NamedTuple, Protocol


class MethodIds(Protocol):
    """What identifies a method on the wire."""

    @property
    def class_id(self) -> int:
        """The number of the class."""

    @property
    def method_id(self) -> int:
        """The number of the method within its class."""


class Argument(NamedTuple):
    """An argument of a method: its name, and its type by the specification's name for it."""

    name: str
    type: str


class MethodSpec(NamedTuple):
    """A method. ``sent_by`` says who may send it: "client", "server" or "both"."""

    name: str
    class_id: int
    method_id: int
    sent_by: str
    arguments: tuple[Argument, ...]
    has_content: bool


REPLY_CODES = {
    200: "REPLY_SUCCESS",
    311: "CONTENT_TOO_LARGE",
    312: "NO_ROUTE",
    313: "NO_CONSUMERS",
    320: "CONNECTION_FORCED",
    402: "INVALID_PATH",
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    506: "RESOURCE_ERROR",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}
"""Names by reply code, spelled as RabbitMQ spells them in reply texts."""

HARD_REPLY_CODES = frozenset((320, 402, 501, 502, 503, 504, 505, 506, 530, 540, 541))
"""Those that end the connection; the others end a channel."""

# Class, method, number, sender, content (*), arguments.
_TABLE = """
connection 10
    start            10 server  version_major:octet version_minor:octet server_properties:table \
mechanisms:longstr locales:longstr
    start-ok         11 client  client_properties:table mechanism:shortstr response:longstr locale:shortstr
    secure           20 server  challenge:longstr
    secure-ok        21 client  response:longstr
    tune             30 server  channel_max:short frame_max:long heartbeat:short
    tune-ok          31 client  channel_max:short frame_max:long heartbeat:short
    open             40 client  virtual_host:shortstr reserved_1:shortstr reserved_2:bit
    open-ok          41 server  reserved_1:shortstr
    close            50 both    reply_code:short reply_text:shortstr failing_class_id:short failing_method_id:short
    close-ok         51 both
    blocked          60 both    reason:shortstr
    unblocked        61 both
    update-secret    70 client  new_secret:longstr reason:shortstr
    update-secret-ok 71 server
channel 20
    open             10 client  reserved_1:shortstr
    open-ok          11 server  reserved_1:longstr
    flow             20 both    active:bit
    flow-ok          21 both    active:bit
    close            40 both    reply_code:short reply_text:shortstr failing_class_id:short failing_method_id:short
    close-ok         41 both
access 30
    request          10 client  realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit
    request-ok       11 server  ticket:short
exchange 40
    declare          10 client  reserved_1:short exchange:shortstr type:shortstr passive:bit durable:bit \
auto_delete:bit internal:bit nowait:bit arguments:table
    declare-ok       11 server
    delete           20 client  reserved_1:short exchange:shortstr if_unused:bit nowait:bit
    delete-ok        21 server
    bind             30 client  reserved_1:short destination:shortstr source:shortstr routing_key:shortstr \
nowait:bit arguments:table
    bind-ok          31 server
    unbind           40 client  reserved_1:short destination:shortstr source:shortstr routing_key:shortstr \
nowait:bit arguments:table
    unbind-ok        51 server
queue 50
    declare          10 client  reserved_1:short queue:shortstr passive:bit durable:bit exclusive:bit \
auto_delete:bit nowait:bit arguments:table
    declare-ok       11 server  queue:shortstr message_count:long consumer_count:long
    bind             20 client  reserved_1:short queue:shortstr exchange:shortstr routing_key:shortstr \
nowait:bit arguments:table
    bind-ok          21 server
    purge            30 client  reserved_1:short queue:shortstr nowait:bit
    purge-ok         31 server  message_count:long
    delete           40 client  reserved_1:short queue:shortstr if_unused:bit if_empty:bit nowait:bit
    delete-ok        41 server  message_count:long
    unbind           50 client  reserved_1:short queue:shortstr exchange:shortstr routing_key:shortstr arguments:table
    unbind-ok        51 server
basic 60
    qos              10 client  prefetch_size:long prefetch_count:short global_:bit
    qos-ok           11 server
    consume          20 client  reserved_1:short queue:shortstr consumer_tag:shortstr no_local:bit no_ack:bit \
exclusive:bit nowait:bit arguments:table
    consume-ok       21 server  consumer_tag:shortstr
    cancel           30 both    consumer_tag:shortstr nowait:bit
    cancel-ok        31 both    consumer_tag:shortstr
    publish          40 client* reserved_1:short exchange:shortstr routing_key:shortstr mandatory:bit immediate:bit
    return           50 server* reply_code:short reply_text:shortstr exchange:shortstr routing_key:shortstr
    deliver          60 server* consumer_tag:shortstr delivery_tag:longlong redelivered:bit exchange:shortstr \
routing_key:shortstr
    get              70 client  reserved_1:short queue:shortstr no_ack:bit
    get-ok           71 server* delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortstr \
message_count:long
    get-empty        72 server  reserved_1:shortstr
    ack              80 both    delivery_tag:longlong multiple:bit
    reject           90 client  delivery_tag:longlong requeue:bit
    recover-async    100 client requeue:bit
    recover          110 client requeue:bit
    recover-ok       111 server
    nack             120 both   delivery_tag:longlong multiple:bit requeue:bit
tx 90
    select           10 client
    select-ok        11 server
    commit           20 client
    commit-ok        21 server
    rollback         30 client
    rollback-ok      31 server
confirm 85
    select           10 client  nowait:bit
    select-ok        11 server
"""

TRUE_BY_DEFAULT = frozenset(("basic.nack.requeue", "basic.reject.requeue", "channel.flow.active"))
"""Bits that are set unless said otherwise (specification, and RabbitMQ's extension for basic.nack)."""


def _read_table() -> tuple[MethodSpec, ...]:
    methods = []
    class_name, class_id = "", 0
    for line in _TABLE.strip().splitlines():
        words = line.split()
        if not line.startswith(" "):
            class_name, class_id = words[0], int(words[1])
            continue
        name, number, sender, *arguments = words
        methods.append(
            MethodSpec(
                f"{class_name}.{name}",
                class_id,
                int(number),
                sender.rstrip("*"),
                tuple(Argument(*argument.split(":")) for argument in arguments),
                sender.endswith("*"),
            )
        )
    return tuple(methods)


METHODS = _read_table()
"""Every method of every class."""
