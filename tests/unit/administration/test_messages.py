"""Peeking at messages, deleting and moving them, and sending dead letters back."""

from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from broker import clock
from broker.administration import messages
from broker.administration.selection import CHOSEN_MAX, Filter
from broker.effective_settings import CONFIGURED_PER_TURN_MAX
from broker.policy import validate_policy
from broker.routing.exchange import Binding
from broker.routing.exchange_type import InvalidDefinitionError
from protocol.amqp.errors import AMQPError
from tests.support.bare_vhost import BareVirtualHost, bodies

Result = TypeVar("Result")


def now(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run what has nothing to wait for, as all messages are in memory."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: Result = ended.value
        return result
    raise AssertionError("it waits")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[BareVirtualHost]:
    opened = BareVirtualHost(tmp_path)
    yield opened
    opened.close()


def test_peeking_changes_nothing(host: BareVirtualHost) -> None:
    queue = host.declare("q")
    for number in range(5):
        host.publish("q", str(number).encode(), headers={"parity": number % 2}, message_id=f"m{number}")
    peeked, following = now(messages.peek(host.vhost, "q", count_max=2))
    assert [(one.position, one.body, one.routing_key, one.redelivered) for one in peeked] == [
        (1, b"0", "q", False),
        (2, b"1", "q", False),
    ]
    assert following == 3
    peeked, following = now(messages.peek(host.vhost, "q", from_position=3))
    assert [one.body for one in peeked] == [b"2", b"3", b"4"]
    assert following is None
    assert [(message.body, redelivered) for _, message, redelivered in queue.entries(0, 9)] == [
        (str(number).encode(), False) for number in range(5)
    ]


def test_a_filter_chooses_by_properties_and_headers(host: BareVirtualHost) -> None:
    host.declare("q")
    for number in range(6):
        host.publish("q", str(number).encode(), headers={"parity": number % 2}, app_id="a" if number < 3 else "b")
    found, _ = now(messages.peek(host.vhost, "q", matching=Filter({"app_id": "b"}, {"parity": 1})))
    assert [one.body for one in found] == [b"3", b"5"]
    with pytest.raises(ValueError, match="unknown property 'colour'"):
        Filter({"colour": "red"})


def test_an_unknown_queue_is_refused(host: BareVirtualHost) -> None:
    with pytest.raises(AMQPError, match="no queue 'none'"):
        now(messages.peek(host.vhost, "none"))


def test_deleting_by_position_survives_a_restart(host: BareVirtualHost) -> None:
    host.declare("q")
    for number in range(4):
        host.publish("q", str(number).encode())
    assert messages.delete(host.vhost, "q", [2, 4, 9]) == 2
    host.restart()
    assert bodies(host.vhost.queues["q"]) == [b"0", b"2"]


def test_more_positions_than_one_call_takes_are_refused(host: BareVirtualHost) -> None:
    host.declare("q")
    with pytest.raises(ValueError, match="at most"):
        messages.delete(host.vhost, "q", range(CHOSEN_MAX + 1))


def test_waiting_messages_are_listed_and_cancelled(host: BareVirtualHost) -> None:
    queue = host.declare("q", delayed=True)
    host.publish("q", b"later", headers={"x-delay": 60_000})
    host.publish("q", b"much later", headers={"x-delay": 600_000})
    assert now(messages.peek(host.vhost, "q"))[0] == []
    found, _ = now(messages.peek(host.vhost, "q", waiting=True))
    assert [one.body for one in found] == [b"later", b"much later"]
    assert found[0].not_before_ms - clock.now_ms() == pytest.approx(60_000, abs=5_000)
    assert messages.delete(host.vhost, "q", [found[0].position]) == 1
    host.restart()
    assert [entry[1].body for entry in host.vhost.queues["q"].waiting_entries(0, 10)] == [b"much later"]
    assert queue.ready_count() == 0


def test_what_a_delayed_exchange_holds_back_can_be_listed_too(host: BareVirtualHost) -> None:
    host.vhost.declare_exchange(
        "x",
        "x-delayed-message",
        durable=True,
        auto_delete=False,
        internal=False,
        arguments={"x-delayed-type": "fanout"},
    )
    host.publish("k", b"later", "x", headers={"x-delay": 60_000})
    found, _ = now(messages.peek(host.vhost, "amq.delayed.x", waiting=True))
    assert [(one.body, one.exchange, one.routing_key) for one in found] == [(b"later", "x", "k")]


def test_messages_move_as_a_whole(host: BareVirtualHost) -> None:
    host.declare("from")
    host.declare("to", max_length=1, overflow="reject-publish")
    for number in range(3):
        host.publish("from", str(number).encode(), headers={"n": number}, expiration="60000")
    assert now(messages.move(host.vhost, "from", [3, 2], routing_key="to")) == 1
    assert now(messages.move(host.vhost, "from", [1], routing_key="nowhere")) == 0
    host.restart()
    assert bodies(host.vhost.queues["from"]) == [b"0", b"1"]
    moved, _ = now(messages.peek(host.vhost, "to"))
    assert [(one.body, one.routing_key, one.properties.headers) for one in moved] == [(b"2", "to", {"n": 2})]


def test_dead_letters_go_back_to_where_they_died(host: BareVirtualHost) -> None:
    host.declare("origin", dead_letter_exchange="", dead_letter_routing_key="dead", max_length=1)
    host.declare("dead")
    for number in range(3):
        host.publish("origin", str(number).encode(), headers={"n": number})
    host.publish("dead", b"never died")
    host.run()
    assert bodies(host.vhost.queues["dead"]) == [b"never died", b"0", b"1"]
    host.vhost.queues["origin"].purge()
    positions = [one.position for one in now(messages.peek(host.vhost, "dead"))[0]]
    assert now(messages.redrive(host.vhost, "dead", positions)) == 2
    host.run()
    # The queue holds one: the other has died once more.
    (back,), _ = now(messages.peek(host.vhost, "origin"))
    assert (back.body, back.exchange, back.routing_key, back.properties.headers) == (b"1", "", "origin", {"n": 1})
    host.restart()
    assert bodies(host.vhost.queues["origin"]) == [b"1"]
    assert bodies(host.vhost.queues["dead"]) == [b"never died", b"0"]


def test_a_routing_key_that_is_no_text_survives_many_deaths(host: BareVirtualHost) -> None:
    key = b"\xff\xfe".decode("utf-8", "surrogateescape")
    host.vhost.declare_exchange("x", "fanout", durable=True, auto_delete=False, internal=False, arguments={})
    for number in range(3):
        host.vhost.declare_exchange(
            f"dlx{number}", "fanout", durable=True, auto_delete=False, internal=False, arguments={}
        )
        queue = host.declare(f"q{number}", max_length=0, dead_letter_exchange=f"dlx{number}")
        source = host.vhost.exchanges[f"dlx{number - 1}" if number else "x"]
        host.vhost.bind(Binding(source, queue, ""))
    host.vhost.bind(Binding(host.vhost.exchanges["dlx2"], host.declare("end"), ""))
    host.publish(key, b"1", "x", headers={"CC": [key, "cc"]})
    host.run()
    (message,), _ = now(messages.peek(host.vhost, "end"))
    assert message.routing_key == key
    deaths = message.properties.headers["x-death"]  # type: ignore[index]
    assert [death["queue"] for death in deaths] == ["q2", "q1", "q0"]
    assert {tuple(death["routing-keys"]) for death in deaths} == {(b"\xff\xfe", b"\xff\xfe", "cc")}


def test_a_policy_changes_a_living_queue(host: BareVirtualHost) -> None:
    queue = host.declare("q")
    for number in range(5):
        host.publish("q", str(number).encode())
    host.vhost.put_policy(validate_policy("short", "^q$", {"max-length": 2}, apply_to="queues"))
    assert bodies(queue) == [b"3", b"4"]
    host.restart()
    queue = host.vhost.queues["q"]
    host.publish("q", b"5")
    assert bodies(queue) == [b"4", b"5"]
    host.vhost.delete_policy("short")
    host.publish("q", b"6")
    assert bodies(queue) == [b"4", b"5", b"6"]


def test_a_policy_reaches_many_queues_in_several_turns(host: BareVirtualHost) -> None:
    queues = [host.declare(f"q{number}") for number in range(CONFIGURED_PER_TURN_MAX + 10)]
    host.run()
    host.vhost.put_policy(validate_policy("short", "^q", {"max-length": 2}, apply_to="queues"))
    assert queues[0].settings.max_length == 2
    assert queues[-1].settings.max_length is None
    host.run()
    assert {queue.settings.max_length for queue in queues} == {2}


def test_a_policy_gives_an_exchange_its_alternate(host: BareVirtualHost) -> None:
    for name in ("x", "ae"):
        host.vhost.declare_exchange(name, "fanout", durable=True, auto_delete=False, internal=False, arguments={})
    queue = host.declare("q")
    host.vhost.bind(Binding(host.vhost.exchanges["ae"], queue, ""))
    host.vhost.put_policy(validate_policy("ae", "^x$", {"alternate-exchange": "ae"}, apply_to="exchanges"))
    assert host.publish("k", b"1", "x").queue_count == 1
    host.vhost.delete_policy("ae")
    assert host.publish("k", b"2", "x").queue_count == 0


def test_an_exchange_cannot_have_just_any_argument(host: BareVirtualHost) -> None:
    arguments = {"x-deduplication": "yes"}
    with pytest.raises(InvalidDefinitionError, match="invalid arg 'x-deduplication'"):
        host.vhost.declare_exchange("x", "fanout", durable=True, auto_delete=False, internal=False, arguments=arguments)
    assert "x" not in host.vhost.exchanges
