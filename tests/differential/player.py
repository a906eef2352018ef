"""Plays scenarios against one broker and writes down, step by step, everything that the client can see."""

from __future__ import annotations

import functools
import hashlib
import re
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from pamqp import constants
from pamqp.base import Frame as Method
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange, Queue, Tx

from tests.differential.link import ANSWER_TIMEOUT_S, ConnectionEndedError, Event, Link, show_close
from tests.differential.steps import GENERATED_REPLY_TO, OUTSTANDING, Scenario, Step
from tests.differential.typed_values import encode_properties, show_properties
from tests.support.raw_client import Address, RawClient, content, frame, method_payload

MAIN = "main"
CONTROL_CHANNEL = 99
"""The channel of the main connection on which the state of queues is asked for."""
CONDITION_TIMEOUT_S = 3.0
SETTLING_TIMEOUT_S = 1.0
POLL_INTERVAL_S = 0.002
QUIET_ROUNDS = 2
"""So many times in a row nothing may have changed before a scenario believes that nothing is under way."""
SHOWN_BODY_SIZE = 80
NOT_FOUND = 404
GENERATED = (
    (re.compile(r"amq\.rabbitmq\.reply-to\.[\w+/=.-]+"), "<reply-to>"),
    (re.compile(r"amq\.ctag-[\w-]+"), "<tag>"),
    (re.compile(r"amq\.gen-[\w-]+"), "<queue>"),
)
COMMANDS = {
    "Basic": Basic,
    "Channel": Channel,
    "Connection": Connection,
    "Exchange": Exchange,
    "Queue": Queue,
    "Tx": Tx,
    "Confirm": Confirm,
}
BATCHING = ("multiple",)
"""A confirm of one message may be called one of several: how many are put into one is for the broker to choose."""
WITHOUT_ANSWER = ("Basic.Ack", "Basic.Nack", "Basic.Reject", "Basic.RecoverAsync")

Transcript = list[list[str]]


class Player:
    """Plays one scenario after the other; the connection ``main`` is kept."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._run = f"d{uuid.uuid4().hex[:6]}"
        self._links: dict[str, Link] = {}
        self._number = 0
        self._prefix = ""
        self._reply_to = ""
        self._used: set[tuple[str, str]] = set()
        self._outstanding: defaultdict[str, list[int]] = defaultdict(list)
        self._expected: list[str] | None = None
        self._steps: dict[str, Callable[[Step], list[str]]] = {
            "open_channel": self._open_channel,
            "close_channel": self._close_channel,
            "close_connection": self._close_connection,
            "publish": self._publish,
            "drain": self._drain,
            "receive": self._receive,
            "wait": self._wait,
            "wait_gone": self._wait_gone,
            "settle": self._settle,
        }

    @property
    def version(self) -> str:
        """The version that the broker announces."""
        with RawClient(self.address) as client:
            version: str = client.start().server_properties["version"]
        return version

    def play(self, scenario: Scenario, other: Transcript | None = None) -> Transcript:
        """Play a scenario. Where the other broker has sent so many things by itself, as many are waited for."""
        self._number += 1
        self._prefix = f"{self._run}-{self._number}-"
        self._reply_to = ""
        self._used = set()
        self._outstanding.clear()
        transcript: Transcript = []
        try:
            for index, step in enumerate(scenario.steps):
                self._expected = other[index] if other is not None and step.difference is None else None
                transcript.append([self._hide(line) for line in self._play_step(step)])
            self._expected = other[-1] if other is not None else None
            transcript.append([self._hide(line) for line in self._left_over()])
            self._clean_up()
        except BaseException:
            self.close()
            raise
        return transcript

    def close(self) -> None:
        """Cut all connections."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    def _play_step(self, step: Step) -> list[str]:
        step = Step(step.action, self._fill_in(step.fields), step.on)
        for name in ("queue", "exchange"):
            if step.action.endswith(".Declare") and name in step.fields:
                self._used.add((name, step.fields[name]))
        if str(step.fields.get("delivery_tag", "")).startswith(OUTSTANDING) and not self._choose_tag(step):
            return ["nothing is outstanding"]
        try:
            return self._steps.get(step.action, self._call)(step)
        except ConnectionEndedError as end:
            self._links.pop(_connection_of(step)).close()
            self._outstanding.clear()
            return [str(end)]

    def _choose_tag(self, step: Step) -> bool:
        """Put the number of an outstanding delivery into the step, if there is one."""
        tags = self._outstanding[step.on]
        if not tags:
            return False
        index = int(step.fields["delivery_tag"].removeprefix(OUTSTANDING)) % len(tags)
        tag = step.fields["delivery_tag"] = tags[index]
        self._outstanding[step.on] = (
            tags[index + 1 :] if step.fields.get("multiple") else tags[:index] + tags[index + 1 :]
        )
        assert tag not in self._outstanding[step.on]
        return True

    def _fill_in(self, value: Any) -> Any:
        match value:
            case str():
                return self._reply_to if value == GENERATED_REPLY_TO else value.replace("%", self._prefix)
            case dict():
                return {name.replace("%", self._prefix): self._fill_in(inner) for name, inner in value.items()}
            case list() | tuple():
                return type(value)(self._fill_in(inner) for inner in value)
        return value

    def _hide(self, line: str) -> str:
        line = line.replace(self._prefix, "%")
        for pattern, shown in GENERATED:
            line = pattern.sub(shown, line)
        return line

    def _link(self, connection: str) -> Link:
        if connection not in self._links:
            self._links[connection] = Link(self.address)
        return self._links[connection]

    def _channel(self, step: Step) -> tuple[Link, int]:
        link, number = self._link(_connection_of(step)), int(step.on.rpartition("/")[2])
        if number not in link.channels:
            link.open_channel(number, confirm=True)
        return link, number

    def _control(self) -> Link:
        link = self._link(MAIN)
        if CONTROL_CHANNEL not in link.channels:
            link.open_channel(CONTROL_CHANNEL, confirm=False)
        return link

    def _open_channel(self, step: Step) -> list[str]:
        link, number = self._link(_connection_of(step)), int(step.on.rpartition("/")[2])
        assert number not in link.channels, f"channel {step.on} is open"
        link.open_channel(number, step.fields["confirm"])
        return []

    def _close_channel(self, step: Step) -> list[str]:
        link, number = self._channel(step)
        link.send(number, Channel.Close(200, "", 0, 0))
        answer = link.await_answer(number, "Channel.CloseOk")
        link.channels.pop(number, None)
        self._outstanding[step.on].clear()
        left = [self._show(event) for event in self._take_all(link, number)]
        return [*left, self._show(answer)]

    def _close_connection(self, step: Step) -> list[str]:
        link = self._link(_connection_of(step))
        del self._links[_connection_of(step)]
        self._outstanding.clear()
        link.client.send(Connection.Close(200, "", 0, 0))
        while "Connection.CloseOk" not in [event.method.name for event in link.inbox[0]]:
            assert link.read_event(time.monotonic() + ANSWER_TIMEOUT_S), "no close-ok"
        link.close()
        return ["Connection.CloseOk"]

    def _publish(self, step: Step) -> list[str]:
        link, number = self._channel(step)
        fields = dict(step.fields)
        body, properties = fields.pop("body").encode(), encode_properties(fields.pop("properties"))
        publish = frame(constants.FRAME_METHOD, number, method_payload(unchecked(Basic.Publish, fields)))
        link.client.send_bytes(publish + content(number, body, properties, link.client.frame_max))
        if not link.channels[number]:
            return self._synchronize(link, number)
        answer = link.await_answer(number, "Basic.Ack", "Basic.Nack")
        return [*self._take_returns(link, number), self._show(answer)]

    def _take_returns(self, link: Link, number: int) -> list[str]:
        returns = [event for event in link.inbox[number] if isinstance(event.method, Basic.Return)]
        for event in returns:
            link.inbox[number].remove(event)
        return [self._show(event) for event in returns]

    def _call(self, step: Step) -> list[str]:
        link, number = self._channel(step)
        class_name, _, method_name = step.action.partition(".")
        method_class: type[Method] = getattr(COMMANDS[class_name], method_name)
        fields = dict(step.fields)
        arguments = fields.pop("arguments", None)
        link.send(number, unchecked(method_class, fields), arguments)
        if fields.get("nowait") or step.action in WITHOUT_ANSWER:
            return self._synchronize(link, number)
        answer = link.await_answer(number, *method_class.valid_responses)
        if isinstance(answer.method, Channel.Close | Basic.RecoverOk):
            self._outstanding[step.on].clear()
        elif isinstance(answer.method, Basic.GetOk) and not fields["no_ack"]:
            self._outstanding[step.on].append(answer.method.delivery_tag)
        if isinstance(answer.method, Queue.DeclareOk):
            self._used.add(("queue", answer.method.queue))
        return [self._show(answer)]

    def _synchronize(self, link: Link, number: int) -> list[str]:
        """What was sent without an answer has been worked off; returns how it failed."""
        failure = self._flow(link, number)
        if failure:
            self._outstanding.clear()
        return self._take_returns(link, number) + failure

    def _flow(self, link: Link, number: int) -> list[str]:
        link.send(number, Channel.Flow(active=True))
        answer = link.await_answer(number, "Channel.FlowOk")
        return [] if isinstance(answer.method, Channel.FlowOk) else [self._show(answer)]

    def _drain(self, step: Step) -> list[str]:
        link, number = self._channel(step)
        lines: list[str] = []
        while True:
            link.send(number, unchecked(Basic.Get, {"queue": step.fields["queue"], "no_ack": True}))
            answer = link.await_answer(number, "Basic.GetOk", "Basic.GetEmpty")
            lines.append(self._show(answer))
            if not isinstance(answer.method, Basic.GetOk):
                return lines

    def _receive(self, step: Step) -> list[str]:
        link, number = self._channel(step)
        wanted = max(step.fields["count"], len(self._expected or ()))
        deadline = time.monotonic() + CONDITION_TIMEOUT_S
        while len(link.inbox[number]) < wanted and link.read_event(deadline):
            pass
        self._quiet(link, number)
        events = self._take_all(link, number)
        tags = [event.method.delivery_tag for event in events if isinstance(event.method, Basic.Deliver)]
        self._outstanding[step.on] += tags
        return [self._show(event) for event in events]

    def _take_all(self, link: Link, number: int) -> list[Event]:
        events = list(link.inbox[number])
        link.inbox[number].clear()
        return events

    def _quiet(self, link: Link, number: int) -> None:
        """Wait until nothing is under way to the channel: what the queues show does not change any more."""
        before, quiet = None, 0
        deadline = time.monotonic() + CONDITION_TIMEOUT_S
        while quiet < QUIET_ROUNDS and time.monotonic() < deadline and number in link.channels:
            counts = [self._counts(name) for kind, name in sorted(self._used) if kind == "queue"]
            if number in link.channels and (failure := self._flow(link, number)):
                raise AssertionError(f"channel {number} was closed: {failure}")
            now = (counts, len(link.inbox[number]))
            quiet = quiet + 1 if now == before else 0
            before = now

    def _counts(self, queue: str) -> tuple[int, int] | int:
        """The numbers of ready messages and of consumers, or the reply code."""
        link = self._control()
        link.send(CONTROL_CHANNEL, unchecked(Queue.Declare, {"queue": queue, "passive": True}))
        answer = link.await_answer(CONTROL_CHANNEL, "Queue.DeclareOk").method
        if isinstance(answer, Queue.DeclareOk):
            return answer.message_count, answer.consumer_count
        assert isinstance(answer, Channel.Close)
        return answer.reply_code

    def _wait(self, step: Step) -> list[str]:
        return self._wait_for(step, lambda counts: isinstance(counts, tuple) and counts[0] == step.fields["ready"])

    def _wait_gone(self, step: Step) -> list[str]:
        interval_s = step.fields["every_ms"] / 1000
        time.sleep(interval_s)
        return self._wait_for(step, lambda counts: counts == NOT_FOUND, max(interval_s, POLL_INTERVAL_S))

    def _wait_for(self, step: Step, is_met: Callable[[Any], bool], interval_s: float = POLL_INTERVAL_S) -> list[str]:
        deadline = time.monotonic() + CONDITION_TIMEOUT_S
        while not is_met(counts := self._counts(step.fields["queue"])) and time.monotonic() < deadline:
            time.sleep(interval_s)
        return [f"{counts[0]} ready" if isinstance(counts, tuple) else _show_counts(counts)]

    def _settle(self, step: Step) -> list[str]:
        """The state of all queues, once it has not changed for a while, and is what the other broker shows or late."""
        late = time.monotonic() + SETTLING_TIMEOUT_S
        before: list[str] | None = None
        quiet = 0
        while quiet < QUIET_ROUNDS and not (quiet and before == self._expected):
            names = sorted(name for kind, name in self._used if kind == "queue")
            now = [self._hide(f"{name}: {_show_counts(self._counts(name))}") for name in names]
            is_awaited = self._expected not in (None, now) and time.monotonic() < late
            quiet = quiet + 1 if now == before and not is_awaited else 0
            before = now
            time.sleep(POLL_INTERVAL_S)
        return before or []

    def _left_over(self) -> list[str]:
        """What has come, or still comes, and nobody has asked for."""
        late = time.monotonic() + SETTLING_TIMEOUT_S
        channels = [
            (name, link, number)
            for name, link in self._links.items()
            for number in link.channels
            if number != CONTROL_CHANNEL
        ]
        for _, link, number in channels:
            self._flow(link, number)
        expected = len(self._expected or ())
        while sum(len(link.inbox[number]) for _, link, number in channels) < expected and time.monotonic() < late:
            for link in self._links.values():
                link.read_event(time.monotonic() + POLL_INTERVAL_S)
        return [
            f"[{name}/{number}] {self._show(event)}"
            for name, link, number in channels
            for event in self._take_all(link, number)
        ]

    def _clean_up(self) -> None:
        """Remove everything of this scenario, and close its channels and connections."""
        for name in [name for name in self._links if name != MAIN]:
            self._links.pop(name).close()
        main = self._control()
        for number in [number for number in main.channels if number != CONTROL_CHANNEL]:
            main.send(number, Channel.Close(200, "", 0, 0))
            main.await_answer(number, "Channel.CloseOk")
            main.channels.pop(number, None)
        for kind, name in self._used:
            if name.startswith((self._prefix, "amq.gen-")):
                deletion = Queue.Delete if kind == "queue" else Exchange.Delete
                main = self._control()
                main.send(CONTROL_CHANNEL, unchecked(deletion, {kind: name}))
                main.await_answer(CONTROL_CHANNEL, "Queue.DeleteOk", "Exchange.DeleteOk")
        main.inbox.clear()

    def _show(self, event: Event) -> str:
        if isinstance(event.method, Channel.Close | Connection.Close):
            return show_close(event.method)
        words = [event.method.name]
        hidden = BATCHING if isinstance(event.method, Basic.Ack | Basic.Nack) else ()
        words += [f"{name}={value!r}" for name, value in event.method if name not in hidden]
        if event.properties is not None:
            if "reply_to" in event.properties:
                self._reply_to = event.properties["reply_to"]
            words += ["|", show_properties(event.properties), "|", _show_body(event.body)]
        return " ".join(words)


def _connection_of(step: Step) -> str:
    return step.on.rpartition("/")[0] or MAIN


@functools.cache
def _unchecked_class(method_class: type[Method]) -> type[Method]:
    return type(method_class.__name__, (method_class,), {"validate": lambda self: None})


def unchecked(method_class: type[Method], fields: dict[str, Any]) -> Method:
    """A method with any names in it: what pamqp refuses is not for it to judge."""
    return _unchecked_class(method_class)(**fields)


def _show_counts(counts: tuple[int, int] | int) -> str:
    if isinstance(counts, tuple):
        return f"{counts[0]} ready, {counts[1]} consumers"
    return f"reply code {counts}"


def _show_body(body: bytes) -> str:
    if len(body) <= SHOWN_BODY_SIZE:
        return repr(body.decode("utf-8", "backslashreplace"))
    return f"{len(body)} octets {hashlib.sha256(body).hexdigest()[:8]}"
