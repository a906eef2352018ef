"""Declaring and deleting exchanges."""

from collections.abc import Iterator
from typing import Any

import pytest
from pamqp.commands import Exchange

from tests.support.raw_client import RawChannel

DEFAULT_EXCHANGE = "ACCESS_REFUSED - operation not permitted on the default exchange"
PREDECLARED = {
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.topic": "topic",
    "amq.headers": "headers",
    "amq.match": "headers",
}


def declare(exchange: str, exchange_type: str = "direct", **arguments: Any) -> Exchange.Declare:
    return Exchange.Declare(exchange=exchange, exchange_type=exchange_type, **arguments)


@pytest.mark.parametrize("exchange_type", ["direct", "fanout", "topic", "headers"])
@pytest.mark.parametrize("flags", [{}, {"durable": True}, {"auto_delete": True}, {"internal": True}])
def test_declared_exchanges_can_be_declared_again(
    channel: RawChannel, name: str, exchange_type: str, flags: dict[str, bool]
) -> None:
    for _ in range(2):
        channel.call(declare(name, exchange_type, **flags))
    channel.call(Exchange.Declare(exchange=name, passive=True))
    channel.call(Exchange.Delete(exchange=name))


@pytest.mark.parametrize(("exchange", "exchange_type"), PREDECLARED.items())
def test_predeclared_exchanges_are_there(channel: RawChannel, exchange: str, exchange_type: str) -> None:
    channel.call(Exchange.Declare(exchange=exchange, passive=True))
    channel.call(declare(exchange, exchange_type, durable=True))


def test_a_passive_declaration_of_an_unknown_exchange(channel: RawChannel, name: str) -> None:
    text = f"NOT_FOUND - no exchange '{name}' in vhost '/'"
    channel.refused(Exchange.Declare(exchange=name, passive=True), 404, text)


def test_a_passive_declaration_looks_at_the_name_only(channel: RawChannel) -> None:
    channel.call(declare("amq.topic", "zork", passive=True, auto_delete=True))


@pytest.mark.parametrize("passive", [False, True])
def test_the_default_exchange_cannot_be_declared(channel: RawChannel, passive: bool) -> None:
    channel.refused(declare("", passive=passive), 403, DEFAULT_EXCHANGE)


@pytest.mark.since_rabbitmq_4  # a connection exception before
@pytest.mark.parametrize("exchange", ["", "amq.direct", None])
def test_an_unknown_type_is_refused_first(channel: RawChannel, name: str, exchange: str | None) -> None:
    method = declare(name if exchange is None else exchange, "zork")
    channel.refused(method, 406, "PRECONDITION_FAILED - unknown exchange type 'zork'")


def test_reserved_names_are_refused(channel: RawChannel) -> None:
    text = "ACCESS_REFUSED - exchange name 'amq.zork' contains reserved prefix 'amq.*'"
    channel.refused(declare("amq.zork"), 403, text)


@pytest.mark.parametrize(
    ("current", "received", "text"),
    [
        ({}, {"exchange_type": "fanout"}, "'type' for {}: received 'fanout' but current is 'direct'"),
        ({}, {"durable": True}, "'durable' for {}: received 'true' but current is 'false'"),
        ({"durable": True}, {}, "'durable' for {}: received 'false' but current is 'true'"),
        ({}, {"auto_delete": True}, "'auto_delete' for {}: received 'true' but current is 'false'"),
        ({}, {"internal": True}, "'internal' for {}: received 'true' but current is 'false'"),
        (
            {},
            {"exchange_type": "topic", "durable": True, "auto_delete": True},
            "'type' for {}: received 'topic' but current is 'direct'",
        ),
        (
            {},
            {"arguments": {"alternate-exchange": "a"}},
            "'alternate-exchange' for {}: received the value 'a' of type 'longstr' but current is none",
        ),
        (
            {"arguments": {"alternate-exchange": "a"}},
            {},
            "'alternate-exchange' for {}: received none but current is the value 'a' of type 'longstr'",
        ),
        (
            {"arguments": {"alternate-exchange": "a"}},
            {"arguments": {"alternate-exchange": "b"}},
            "'alternate-exchange' for {}: received 'b' but current is 'a'",
        ),
    ],
)
def test_an_inequivalent_declaration_is_refused(
    channel: RawChannel, name: str, current: dict[str, Any], received: dict[str, Any], text: str
) -> None:
    channel.call(declare(name, **current))
    reason = text.format(f"exchange '{name}' in vhost '/'")
    again = channel.refused(declare(name, **received), 406, f"PRECONDITION_FAILED - inequivalent arg {reason}")
    again.call(Exchange.Delete(exchange=name))


def test_arguments_that_mean_nothing_are_not_compared(channel: RawChannel, name: str) -> None:
    channel.call(declare(name, arguments={"x-mine": 1}))
    channel.call(declare(name, arguments={"x-mine": 2, "x-other": "3"}))
    channel.call(Exchange.Delete(exchange=name))


def test_an_alternate_exchange_is_named_by_a_string(channel: RawChannel, name: str) -> None:
    text = f"invalid type 'byte' for arg 'alternate-exchange' in exchange '{name}' in vhost '/'"
    method = declare(name, arguments={"alternate-exchange": 5})
    channel.refused(method, 406, f"PRECONDITION_FAILED - {text}")


def test_nothing_is_answered_to_nowait(channel: RawChannel, name: str) -> None:
    channel.send(declare(name, nowait=True))
    channel.expect_silence()
    channel.call(Exchange.Declare(exchange=name, passive=True))
    channel.send(Exchange.Delete(exchange=name, nowait=True))
    channel.expect_silence()
    channel.send(Exchange.Delete(exchange=name))
    channel.expect(Exchange.DeleteOk)


def test_deleting_what_is_not_there_is_no_error(channel: RawChannel, name: str) -> None:
    channel.call(Exchange.Delete(exchange=name))
    channel.call(Exchange.Delete(exchange=name, if_unused=True))


@pytest.mark.parametrize("exchange", [*PREDECLARED, "amq.zork"])
def test_system_exchanges_are_not_deleted(channel: RawChannel, exchange: str) -> None:
    text = f"ACCESS_REFUSED - deletion of system exchange '{exchange}' in vhost '/' not allowed"
    channel.refused(Exchange.Delete(exchange=exchange), 403, text)


def test_the_default_exchange_is_not_deleted(channel: RawChannel) -> None:
    channel.refused(Exchange.Delete(exchange=""), 403, DEFAULT_EXCHANGE)


def test_an_exchange_in_use_is_not_deleted_if_unused(channel: RawChannel, names: Iterator[str], queue: str) -> None:
    exchange = next(names)
    channel.call(declare(exchange))
    channel.bind(queue, exchange, "k")
    text = f"PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in use"
    again = channel.refused(Exchange.Delete(exchange=exchange, if_unused=True), 406, text)
    again.unbind(queue, exchange, "k")
    again.call(Exchange.Delete(exchange=exchange, if_unused=True))
    text = f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"
    again.refused(Exchange.Declare(exchange=exchange, passive=True), 404, text)


def test_a_destination_is_not_in_use(channel: RawChannel, names: Iterator[str]) -> None:
    source, destination = next(names), next(names)
    channel.call(declare(source, auto_delete=True))
    channel.call(declare(destination))
    channel.call(Exchange.Bind(destination=destination, source=source, routing_key="k"))
    channel.call(Exchange.Delete(exchange=destination, if_unused=True))


def test_an_auto_delete_exchange_goes_with_its_last_binding(channel: RawChannel, name: str, queue: str) -> None:
    exchange = f"{name}-exchange"
    channel.call(declare(exchange, auto_delete=True))
    for key in ("a", "b"):
        channel.bind(queue, exchange, key)
    channel.unbind(queue, exchange, "a")
    channel.call(Exchange.Declare(exchange=exchange, passive=True))
    channel.unbind(queue, exchange, "b")
    text = f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"
    channel.refused(Exchange.Declare(exchange=exchange, passive=True), 404, text)


def test_auto_delete_exchanges_go_in_a_chain(channel: RawChannel, names: Iterator[str]) -> None:
    first, second = next(names), next(names)
    queue = channel.declare_queue(exclusive=True)
    for exchange in (first, second):
        channel.call(declare(exchange, auto_delete=True))
    channel.call(Exchange.Bind(destination=second, source=first))
    channel.bind(queue, second)
    channel.delete_queue(queue)
    for exchange in (first, second):
        text = f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"
        channel = channel.refused(Exchange.Declare(exchange=exchange, passive=True), 404, text)


def test_line_ends_are_left_out_of_names(channel: RawChannel, name: str) -> None:
    method = declare("", "direct", auto_delete=True)
    method.exchange = f"{name}\r\n"
    method.validate = lambda: None  # type: ignore[method-assign]
    channel.call(method)
    channel.call(Exchange.Declare(exchange=name, passive=True))
    channel.call(Exchange.Delete(exchange=name))
