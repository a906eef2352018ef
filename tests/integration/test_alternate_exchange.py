"""Alternate exchanges."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.commands import Basic, Connection, Exchange

from tests.conftest import StartBroker
from tests.support.raw_client import RawChannel


def declare(channel: RawChannel, name: str, kind: str, alternate: str | None = None, durable: bool = False) -> None:
    arguments = None if alternate is None else {"alternate-exchange": alternate}
    channel.call(Exchange.Declare(exchange=name, exchange_type=kind, durable=durable, arguments=arguments))


@pytest.mark.parametrize("kind", ["direct", "topic", "headers"])
def test_what_has_no_destination_goes_to_the_alternate_exchange(
    channel: RawChannel, names: Iterator[str], queue: str, kind: str
) -> None:
    exchange, alternate, rest = next(names), next(names), channel.declare_queue(next(names), exclusive=True)
    declare(channel, exchange, kind, alternate)
    declare(channel, alternate, "fanout")
    channel.bind(queue, exchange, "k", {"a": 1})
    channel.bind(rest, alternate)
    channel.publish(b"first", "k", exchange, Basic.Properties(headers={"a": 1}))
    channel.publish(b"second", "other", exchange, Basic.Properties(headers={"a": 2}))
    assert channel.bodies(queue) == [b"first"]
    assert channel.bodies(rest) == [b"second"]
    for name in (exchange, alternate):
        channel.call(Exchange.Delete(exchange=name))


def test_a_mandatory_message_comes_back_only_if_the_alternate_exchange_has_no_destination_either(
    channel: RawChannel, names: Iterator[str], queue: str
) -> None:
    exchange, alternate = next(names), next(names)
    declare(channel, exchange, "direct", alternate)
    declare(channel, alternate, "direct")
    channel.bind(queue, alternate, "k")
    channel.publish(b"routed", "k", exchange, mandatory=True)
    channel.publish(b"returned", "other", exchange, mandatory=True)
    returned = channel.receive_message(Basic.Return)
    assert returned.body == b"returned"
    assert (returned.method.reply_code, returned.method.exchange) == (312, exchange)
    assert channel.bodies(queue) == [b"routed"]
    for name in (exchange, alternate):
        channel.call(Exchange.Delete(exchange=name))


def test_the_alternate_exchange_may_come_and_go(channel: RawChannel, names: Iterator[str], queue: str) -> None:
    exchange, alternate = next(names), next(names)
    declare(channel, exchange, "direct", alternate)
    for number in range(2):
        channel.publish(b"lost", "k", exchange)
        declare(channel, alternate, "fanout")
        channel.publish(b"lost", "k", exchange)
        channel.bind(queue, alternate)
        channel.publish(str(number).encode(), "k", exchange)
        channel.call(Exchange.Delete(exchange=alternate))
    channel.publish(b"lost", "k", exchange)
    assert channel.bodies(queue) == [b"0", b"1"]
    channel.call(Exchange.Delete(exchange=exchange))


def test_an_alternate_exchange_may_be_internal_and_have_an_alternate_itself(
    channel: RawChannel, names: Iterator[str], queue: str
) -> None:
    first, second, third = next(names), next(names), next(names)
    declare(channel, first, "direct", second)
    channel.call(
        Exchange.Declare(exchange=second, exchange_type="topic", internal=True, arguments={"alternate-exchange": third})
    )
    declare(channel, third, "fanout", first)
    channel.publish(b"lost, but at once", "k", first)
    channel.bind(queue, third)
    channel.publish(b"found", "k", first)
    assert channel.bodies(queue) == [b"found"]
    for name in (first, second, third):
        channel.call(Exchange.Delete(exchange=name))


def test_alternate_exchanges_are_there_after_a_restart(start_broker: StartBroker) -> None:
    broker = start_broker()
    channel = broker.connect().open().channel()
    declare(channel, "x", "direct", "a", durable=True)
    declare(channel, "a", "fanout", durable=True)
    channel.declare_queue("q", durable=True)
    channel.bind("q", "a")
    broker.terminate()
    broker.start()
    channel = broker.connect().open().channel()
    channel.publish(b"found", "k", "x")
    assert channel.bodies("q") == [b"found"]


def test_who_names_an_alternate_exchange_must_be_allowed_to_publish_to_it(
    start_broker: StartBroker, tmp_path: Path
) -> None:
    file = tmp_path / "haypile.toml"
    file.write_text(
        "[[users]]\nname = 'app'\npassword = 'secret'\n"
        "[[users.permissions]]\nvhost = '/'\nconfigure = '.*'\nwrite = '^mine'\nread = '^(mine|seen)'\n"
    )
    client = start_broker({"config": str(file)}).connect()
    client.start()
    client.log_in("app", "secret")
    client.tune_ok()
    client.send(Connection.Open(virtual_host="/"))
    client.expect(Connection.OpenOk)
    channel = client.channel()
    for name, alternate, permission, refused in (
        ("mine", "other", "write", "other"),
        ("unread", "mine-too", "read", "unread"),
    ):
        method = Exchange.Declare(exchange=name, arguments={"alternate-exchange": alternate})
        text = f"ACCESS_REFUSED - {permission} access to exchange '{refused}' in vhost '/' refused for user 'app'"
        channel = channel.refused(method, 403, text)
    declare(channel, "seen", "direct", "mine")
