"""Hostile input: the connection that sends it ends, and nobody else notices.

Each case is a class of attacks on brokers or clients that were published as advisories.
"""

import random
import struct
from collections.abc import Callable

import pytest
from pamqp.commands import Basic, Channel, Connection, Queue

from tests.conftest import Connect
from tests.support.raw_client import (
    PROTOCOL_HEADER,
    RawChannel,
    RawClient,
    frame,
    header_payload,
    method_payload,
    short_string,
    table,
)

PUBLISH = frame(1, 1, method_payload(Basic.Publish(routing_key="nowhere")))
FRAME_ERRORS = (501, 502, 503, 505, 541)


def start_ok(properties: bytes, properties_size: int | None = None) -> bytes:
    size = len(properties) if properties_size is None else properties_size
    arguments = short_string("PLAIN") + struct.pack(">I", 12) + b"\0guest\0guest" + short_string("en_US")
    return frame(1, 0, struct.pack(">II", Connection.StartOk.index, size) + properties + arguments)


def bomb(depth: int, tag: bytes) -> bytes:
    """A value of tables in tables, or arrays in arrays; the innermost one is empty."""
    value = b""
    for _ in range(depth):
        item = short_string("a") if tag == b"F" else b""
        value = item + tag + struct.pack(">I", len(value)) + value
    return tag + struct.pack(">I", len(value)) + value


@pytest.fixture
def witness(connect: Connect, name: str) -> RawChannel:
    """Another connection, which must be served after the attack as before."""
    return connect().open().channel(1)


def unharmed(witness: RawChannel) -> None:
    queue = witness.declare_queue(exclusive=True)
    witness.publish(b"still here", queue)
    assert witness.bodies(queue) == [b"still here"]


def test_a_frame_larger_than_allowed_before_the_login(connect: Connect, witness: RawChannel) -> None:
    client = connect()
    client.start()
    client.send_bytes(struct.pack(">BHI", 1, 0, 8193) + b"x" * 8193)
    client.expect_gone(501)
    unharmed(witness)


def test_a_frame_of_four_gigabytes_before_the_login(connect: Connect, witness: RawChannel) -> None:
    client = connect()
    client.start()
    client.send_bytes(struct.pack(">BHI", 1, 0, 0xFFFFFFFF))
    client.expect_gone(501)
    unharmed(witness)


@pytest.mark.parametrize("tag", [b"F", b"A"], ids=["tables", "arrays"])
def test_a_recursion_bomb_before_the_login(connect: Connect, witness: RawChannel, tag: bytes) -> None:
    client = connect()
    client.start()
    client.send_bytes(start_ok(table(bomb=bomb(500, tag))))
    # RabbitMQ recurses happily; whoever refuses says so, or is just gone.
    try:
        client.expect(Connection.Tune)
    except AssertionError:
        client.socket.close()
    unharmed(witness)


@pytest.mark.parametrize("tag", [b"F", b"A"], ids=["tables", "arrays"])
@pytest.mark.haypile_only  # RabbitMQ takes any depth that fits into a frame
def test_a_recursion_bomb_in_arguments(channel: RawChannel, witness: RawChannel, name: str, tag: bytes) -> None:
    arguments = table(bomb=bomb(10_000, tag))
    payload = struct.pack(">IH", Queue.Declare.index, 0) + short_string(name) + b"\4"
    channel.client.send_bytes(frame(1, 1, payload + struct.pack(">I", len(arguments)) + arguments))
    channel.client.expect_gone(*FRAME_ERRORS)
    unharmed(witness)


@pytest.mark.parametrize("tag", [b"F", b"A"], ids=["tables", "arrays"])
def test_a_recursion_bomb_in_headers(channel: RawChannel, witness: RawChannel, queue: str, tag: bytes) -> None:
    channel.bind(queue, "amq.headers", arguments={"mine": queue})
    headers = table(bomb=bomb(10_000, tag))
    properties = b"\x20\0" + struct.pack(">I", len(headers)) + headers
    channel.publish(b"m", queue, "amq.headers", properties)
    channel.send(Channel.Flow(active=True))
    # Either of them is fine: passed on as it came, or refused.
    answer = channel.client.receive_frame()
    assert isinstance(answer.method, Channel.FlowOk | Channel.Close | Connection.Close)
    unharmed(witness)


LENGTHS = {
    "table longer than the frame": struct.pack(">I", 0x7FFFFFFF),
    "table of negative length": struct.pack(">I", 0xFFFFFFFF),
    "string longer than its table": struct.pack(">I", 7) + short_string("a") + b"S\0\0\0\xff"[:5],
    "name longer than its table": struct.pack(">I", 2) + b"\xffa",
    "value without its octets": struct.pack(">I", 3) + short_string("a") + b"I",
    "unknown type tag": struct.pack(">I", 4) + short_string("a") + b"?\0",
    "array longer than its table": struct.pack(">I", 7) + short_string("a") + b"A\xff\xff\xff",
    "name without a value": struct.pack(">I", 2) + short_string("a"),
}


@pytest.mark.parametrize("arguments", LENGTHS.values(), ids=LENGTHS)
def test_lengths_that_lie(channel: RawChannel, witness: RawChannel, name: str, arguments: bytes) -> None:
    payload = struct.pack(">IH", Queue.Declare.index, 0) + short_string(name) + b"\4"
    channel.client.send_bytes(frame(1, 1, payload + arguments))
    channel.client.expect_gone(*FRAME_ERRORS)
    unharmed(witness)


PROPERTIES = {
    "content type without octets": b"\x80\0",
    "content type longer than the frame": b"\x80\0\xffab",
    "headers longer than the frame": b"\x20\0\x7f\xff\xff\xff",
    "headers that lie": b"\x20\0\0\0\0\6\1aS\0\0\xff",
    "all flags and nothing": b"\xff\xfc",
    "octets left over": b"\0\0zzz",
}


@pytest.mark.parametrize("properties", PROPERTIES.values(), ids=PROPERTIES)
@pytest.mark.parametrize("exchange", ["", "amq.headers"])
def test_properties_that_lie(
    channel: RawChannel, witness: RawChannel, queue: str, exchange: str, properties: bytes
) -> None:
    channel.publish(b"m", queue, exchange, properties)
    channel.client.expect_gone(*FRAME_ERRORS)
    unharmed(witness)


def test_a_body_that_is_announced_and_never_sent_costs_nothing(connect: Connect, witness: RawChannel) -> None:
    clients = [connect().open() for _ in range(20)]
    for client in clients:
        client.channel(1)
        client.send_bytes(PUBLISH + frame(2, 1, header_payload(1_000_000)))
    unharmed(witness)


def test_many_tiny_body_frames(channel: RawChannel, queue: str) -> None:
    publish = frame(1, 1, method_payload(Basic.Publish(routing_key=queue)))
    pieces = frame(3, 1, b"") * 20_000 + frame(3, 1, b"x") * 20_000
    channel.client.send_bytes(publish + frame(2, 1, header_payload(20_000)) + pieces)
    assert channel.bodies(queue) == [b"x" * 20_000]


def test_a_binding_key_of_many_wildcards_routes_in_no_time(channel: RawChannel, queue: str) -> None:
    words = ".".join(["*"] * 30)
    channel.bind(queue, "amq.topic", f"{queue}.#.{words}.#.end")
    for _ in range(50):
        channel.publish(b"m", f"{queue}." + ".".join(["a"] * 100), "amq.topic")
    channel.publish(b"found", f"{queue}." + ".".join(["a"] * 90) + ".end", "amq.topic")
    assert channel.bodies(queue) == [b"found"]


def random_octets(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(1, 300))


def random_payload(rng: random.Random) -> bytes:
    return frame(rng.choice([1, 2, 3, 8]), rng.choice([0, 1]), random_octets(rng))


def random_arguments(rng: random.Random) -> bytes:
    ids = rng.choice(
        [(10, 11), (10, 40), (20, 10), (40, 10), (50, 10), (50, 20), (60, 20), (60, 40), (60, 80), (85, 10)]
    )
    return frame(1, rng.choice([0, 1]), struct.pack(">HH", *ids) + random_octets(rng))


def mutated_declaration(rng: random.Random) -> bytes:
    arguments: dict[str, object] = {"x-a": [1, "b", {"c": None}], "x-message-ttl": 5}
    declare = Queue.Declare(queue="q", exclusive=True, arguments=arguments)  # type: ignore[arg-type]
    data = bytearray(frame(1, 1, method_payload(declare)))
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(7, len(data) - 1)] = rng.randrange(256)
    return bytes(data)


def mutated_header(rng: random.Random) -> bytes:
    properties = Basic.Properties(content_type="a", headers={"a": 1, "b": {"c": "d"}}, expiration="10")
    data = bytearray(frame(2, 1, header_payload(1, properties)))
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(19, len(data) - 1)] = rng.randrange(256)
    return PUBLISH + bytes(data) + frame(3, 1, b"x")


@pytest.mark.parametrize("make", [random_octets, random_payload, random_arguments, mutated_declaration, mutated_header])
@pytest.mark.parametrize("seed", range(12))
def test_noise_ends_its_own_connection_at_most(
    client: RawClient, witness: RawChannel, make: Callable[[random.Random], bytes], seed: int
) -> None:
    rng = random.Random(seed)
    client.channel(1)
    for _ in range(20):
        client.send_bytes(make(rng))
    client.socket.close()
    unharmed(witness)


@pytest.mark.parametrize("seed", range(12))
def test_noise_in_place_of_a_login(connect: Connect, witness: RawChannel, seed: int) -> None:
    rng = random.Random(seed)
    client = connect()
    client.send_bytes(PROTOCOL_HEADER + (random_octets(rng) if seed % 2 else random_payload(rng)))
    client.socket.close()
    unharmed(witness)


def test_a_client_that_never_reads_harms_nobody(connect: Connect, witness: RawChannel, name: str) -> None:
    deaf = connect().open().channel(1)
    deaf.declare_queue(name, auto_delete=True)
    deaf.send(Basic.Consume(queue=name, no_ack=True))
    for _ in range(300):
        witness.publish(b"x" * 100_000, name)
    unharmed(witness)
    deaf.client.socket.close()
