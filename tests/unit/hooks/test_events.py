"""Events are bounded, and harm nobody."""

from types import SimpleNamespace
from typing import Any

import pytest

from broker.hooks import events as events_module
from broker.hooks.events import EVENT_EXCHANGE, PENDING_MAX, PUBLISHED_PER_TURN_MAX, Events


class Exchange:
    bindings = {"one": "binding"}


class VirtualHost:
    """One whose routing fails, as that of an extension can."""

    name = "/"
    journal = SimpleNamespace(journal=SimpleNamespace(failed=False))

    def __init__(self) -> None:
        self.exchanges = {EVENT_EXCHANGE: Exchange()}
        self.asked: list[str] = []

    def find_queues(self, exchange: Any, keys: Any, message: Any) -> Any:
        self.asked += keys
        raise RuntimeError("out of order")


class Steps:
    """The end of the turn, by hand."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    def want_step(self, step: Any) -> None:
        self.steps.append(step)

    def end(self) -> None:
        steps, self.steps = self.steps, []
        for step in steps:
            step()


def test_too_many_events_are_dropped_and_a_failing_publish_harms_nobody() -> None:
    turn: Any = Steps()
    vhost = VirtualHost()
    events = Events(turn)
    events.tell("queue.created", dict)
    assert not turn.steps
    events.enable(vhost)
    for number in range(PENDING_MAX + 3):
        events.tell(f"e.{number}", dict)
    assert events.dropped_count == 3
    assert vhost.asked == []
    turn.end()
    assert len(vhost.asked) == PUBLISHED_PER_TURN_MAX
    while turn.steps:
        turn.end()
    assert vhost.asked == [f"e.{number}" for number in range(PENDING_MAX)]


def test_an_event_that_cannot_be_told_does_not_stop_the_others() -> None:
    turn: Any = Steps()
    vhost = VirtualHost()
    events = Events(turn)
    events.enable(vhost)
    events.tell("e.1", lambda: {"name": object()})
    events.tell("e.2", dict)
    with pytest.raises(ValueError, match="cannot hold"):
        turn.end()
    turn.end()
    assert vhost.asked == ["e.2"]


def test_who_acts_is_told() -> None:
    turn: Any = Steps()
    events = Events(turn)
    events.enable(VirtualHost())
    events.acting_user = "somebody"
    events.tell("queue.created", lambda name: {"name": name}, "q")
    assert events._pending[0][2] == {"user_who_performed_action": "somebody", "name": "q"}
    events.disable()
    turn.end()
    assert events_module.INTERNAL_USER == "rmq-internal"
