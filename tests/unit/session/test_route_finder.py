"""Where messages go whose routing key changes, and who is asked whether they may."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Basic, Exchange

from broker import clock
from broker.session.route_finder import EXCHANGES_ALLOWED_MAX
from tests.support.in_process import Anybody, InProcessBroker
from tests.support.raw_client import RawChannel


class Author(Anybody):
    """A user who may write to every exchange whose name begins with "open", and is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def may(self, vhost: str, permission: str, name: str) -> bool:
        if permission != "write" or not name.startswith(("open", "shut")):
            return True
        self.asked[name] += 1
        return name.startswith("open")


@pytest.fixture
def author(monkeypatch: pytest.MonkeyPatch) -> Author:
    author = Author()

    def authenticate(broker: InProcessBroker, credentials: Any, peer: Any) -> tuple[Any, str]:
        return author, ""

    monkeypatch.setattr(InProcessBroker, "authenticate", authenticate)
    return author


@pytest.fixture
def channel(author: Author) -> Iterator[RawChannel]:
    with tempfile.TemporaryDirectory() as directory:
        broker = InProcessBroker(Path(directory))
        try:
            yield broker.connect().channel(1)
        finally:
            broker.crash()
            clock.stand_still(0)


def declare(channel: RawChannel, name: str, queue: str) -> None:
    channel.call(Exchange.Declare(exchange=name, exchange_type="topic"))
    channel.bind(queue, name, "*.*")


def test_an_exchange_is_asked_for_once_however_many_keys_there_are(channel: RawChannel, author: Author) -> None:
    queue = channel.declare_queue()
    for name in ("open-1", "open-2"):
        declare(channel, name, queue)
    author.asked.clear()
    bodies = [f"{number}.{exchange}" for number in range(100) for exchange in ("open-1", "open-2", "open-1")]
    for round_number in range(2):
        for body in bodies:
            channel.publish(body.encode(), body, body.partition(".")[2])
        assert channel.bodies(queue) == [body.encode() for body in bodies]
        assert author.asked == {"open-1": 1, "open-2": 1}, round_number


def test_a_channel_does_not_remember_more_exchanges_than_it_may(channel: RawChannel, author: Author) -> None:
    queue = channel.declare_queue()
    names = [f"open-{number}" for number in range(EXCHANGES_ALLOWED_MAX + 1)]
    for name in names:
        declare(channel, name, queue)
    author.asked.clear()
    for _ in range(3):
        for name in names:
            channel.publish(name.encode(), f"{name}.", name)
    assert channel.bodies(queue) == [name.encode() for name in names] * 3
    assert set(author.asked) == set(names)
    assert author.asked.total() > len(names)


def test_who_is_refused_stays_refused(channel: RawChannel, author: Author) -> None:
    queue = channel.declare_queue()
    declare(channel, "open", queue)
    channel.call(Exchange.Declare(exchange="shut", exchange_type="topic"))
    text = "ACCESS_REFUSED - write access to exchange 'shut' in vhost '/' refused for user 'guest'"
    for key in ("a.a", "b.b"):
        channel.publish(b"taken", key, "open")
        assert channel.bodies(queue) == [b"taken"]
        channel.publish(b"refused", key, "shut")
        channel.expect_channel_close(403, text, Basic.Publish)
        channel = channel.client.channel(1)


def test_an_exchange_of_the_same_name_is_another_one(channel: RawChannel, author: Author) -> None:
    queue = channel.declare_queue()
    declare(channel, "open", queue)
    channel.publish(b"taken", "a.a", "open")
    assert channel.bodies(queue) == [b"taken"]
    channel.call(Exchange.Delete(exchange="open"))
    channel.call(Exchange.Declare(exchange="open", exchange_type="topic", internal=True))
    channel.publish(b"refused", "a.a", "open")
    text = "ACCESS_REFUSED - cannot publish to internal exchange 'open' in vhost '/'"
    channel.expect_channel_close(403, text, Basic.Publish)


def test_who_may_not_write_does_not_learn_which_exchanges_there_are(channel: RawChannel, author: Author) -> None:
    text = "ACCESS_REFUSED - write access to exchange 'shut' in vhost '/' refused for user 'guest'"
    channel.publish(b"refused", "a.a", "shut")
    channel.expect_channel_close(403, text, Basic.Publish)
    channel = channel.client.channel(1)
    channel.publish(b"to nowhere", "a.a", "open")
    channel.expect_channel_close(404, "NOT_FOUND - no exchange 'open' in vhost '/'", Basic.Publish)
