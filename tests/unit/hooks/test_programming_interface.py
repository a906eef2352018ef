"""Switching the firehose and the events in the code, and events of what clients cannot do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.hooks.events import EVENT_EXCHANGE
from broker.hooks.firehose import TRACE_EXCHANGE
from broker.policy import validate_policy
from broker.routing.exchange import Binding
from protocol.amqp.properties import decode_properties
from tests.support.bare_vhost import BareVirtualHost


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BareVirtualHost]:
    broker = BareVirtualHost(tmp_path)
    yield broker
    broker.close()


def test_taps_are_there_only_while_somebody_looks(broker: BareVirtualHost) -> None:
    vhost = broker.vhost
    queue = broker.declare("traces")
    trace = vhost.exchanges[TRACE_EXCHANGE]

    def state() -> tuple[bool, bool, bool]:
        return vhost.tracing, vhost.taps.publishing is not None, vhost.taps.delivering is not None

    assert state() == (False, False, False)
    vhost.set_tracing(True)
    assert state() == (True, False, False)
    vhost.bind(Binding(trace, queue, "publish.#"))
    vhost.bind(Binding(trace, queue, "deliver.#"))
    assert state() == (True, True, True)
    vhost.unbind(Binding(trace, queue, "publish.#"))
    assert state() == (True, True, True)
    vhost.set_tracing(False)
    assert state() == (False, False, False)
    vhost.set_tracing(True)
    assert state() == (True, True, True)
    broker.restart()
    vhost = broker.vhost
    assert state() == (False, False, False)
    vhost.set_tracing(True)
    assert state() == (True, True, True)
    vhost.delete_queue(vhost.queues["traces"])
    assert state() == (True, False, False)
    vhost.declare_exchange("x", "fanout", durable=True, auto_delete=False, internal=False, arguments={})
    vhost.bind(Binding(vhost.exchanges[TRACE_EXCHANGE], vhost.exchanges["x"], "#"))
    assert state() == (True, True, True)
    vhost.delete_exchange(vhost.exchanges["x"])
    assert state() == (True, False, False)


def events(broker: BareVirtualHost) -> list[tuple[str, dict[str, Any]]]:
    """The events so far, and what they say beyond what all do."""
    broker.run()
    found = []
    for _, message, _ in broker.vhost.queues["events"].entries(0, 1000):
        headers = dict(decode_properties(message.header).headers or {})
        del headers["timestamp_in_ms"]
        found.append((message.address[1 + len(EVENT_EXCHANGE) + 1 :].decode(), headers))
    broker.vhost.queues["events"].purge()
    return found


def test_policies_are_told_while_events_are_on(broker: BareVirtualHost) -> None:
    vhost = broker.vhost
    queue = broker.declare("events")
    vhost.bind(Binding(vhost.exchanges[EVENT_EXCHANGE], queue, "#"))
    policy = validate_policy("p", "^q", {"max-length": 5}, priority=2, apply_to="queues")
    vhost.put_policy(policy)
    assert events(broker) == []
    vhost.events.enable(vhost)
    operator = validate_policy("o", "^q", {"max-length": 5}, operator=True)
    vhost.put_policy(policy)
    vhost.put_policy(operator, operator=True)
    vhost.delete_policy("p")
    vhost.delete_policy("o", operator=True)
    vhost.delete_policy("never there")
    by = {"vhost": "/", "user_who_performed_action": "rmq-internal"}
    rest = {"pattern": "^q", "definition": {"max-length": 5}}
    assert events(broker) == [
        ("policy.set", {"name": "p", "apply-to": "queues", "priority": 2} | rest | by),
        ("policy.set", {"name": "o", "apply-to": "all", "priority": 0} | rest | by),
        ("policy.cleared", {"name": "p"} | by),
        ("operator.policy.cleared", {"name": "o"} | by),
    ]
    vhost.events.disable()
    vhost.put_policy(policy)
    assert events(broker) == []


def test_an_expired_queue_is_told(broker: BareVirtualHost) -> None:
    vhost = broker.vhost
    queue = broker.declare("events")
    vhost.bind(Binding(vhost.exchanges[EVENT_EXCHANGE], queue, "queue.deleted"))
    vhost.events.enable(vhost)
    vhost.expire_queue(broker.declare("q", queue_type="quorum"))
    ((key, said),) = events(broker)
    assert (key, said["name"], said["type"]) == ("queue.deleted", "q", "rabbit_quorum_queue")


def test_a_full_event_queue_harms_nobody(broker: BareVirtualHost) -> None:
    vhost = broker.vhost
    queue = broker.declare("events", max_length=2)
    vhost.bind(Binding(vhost.exchanges[EVENT_EXCHANGE], queue, "#"))
    vhost.events.enable(vhost)
    for number in range(5):
        broker.declare(f"q{number}")
    assert [said["name"] for _, said in events(broker)] == ["q3", "q4"]
