"""Messages that were consumed are found by time, and put back into a queue."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import clock
from broker.administration import history, messages
from broker.administration.history import FOREVER_MS, KeptMessage, Place
from broker.administration.selection import CHOSEN_MAX, Filter
from broker.queueing.queue import Queue
from protocol.amqp.errors import AMQPError
from storage.layout import segment_path
from tests.support.bare_vhost import BareVirtualHost, bodies

BEGINNING_MS = 1_700_000_000_000
DAY_S = 86_400


@pytest.fixture
def host(tmp_path: Path) -> Iterator[BareVirtualHost]:
    clock.stand_still(BEGINNING_MS)
    opened = BareVirtualHost(tmp_path, 1 << 16, retention_s=DAY_S)
    yield opened
    opened.close()
    clock.stand_still(0)


def publish_many(host: BareVirtualHost, name: str, count: int, size: int = 1000) -> None:
    """Publish numbered messages, one a second."""
    for number in range(count):
        host.publish(name, str(number).encode().ljust(size), headers={"parity": number % 2})
        clock.stand_still(clock.now_ms() + 1000)
        if number % 50 == 0:
            host.commit()
    host.commit()


def consume(host: BareVirtualHost, queue: Queue, count: int) -> None:
    positions = [entry[0] for entry in queue.entries(0, count)]
    assert messages.delete(host.vhost, queue.name, positions) == count
    host.commit()


def numbers_of(kept: list[KeptMessage]) -> list[int]:
    return [int(message.body) for message in kept]


def everything(host: BareVirtualHost, queue: str | int, count_max: int = 1000, **choice: object) -> list[KeptMessage]:
    """Read page after page."""
    found: list[KeptMessage] = []
    place: Place | None = (0, 0)
    while place is not None:
        page = asyncio.run(
            history.list_kept(host.vhost, queue, from_place=place, count_max=count_max, **choice)  # type: ignore[arg-type]
        )
        assert page.following is None or page.following > place
        assert len(page.messages) <= count_max
        assert page.unreadable_count == 0
        found += page.messages
        place = page.following
    return found


def test_consumed_messages_are_listed_with_those_that_are_ready(host: BareVirtualHost) -> None:
    queue = host.declare("q")
    publish_many(host, "q", 300)
    consume(host, queue, 290)
    assert host.vhost.journal.journal.segment_count > 4
    kept = everything(host, "q")
    assert numbers_of(kept) == list(range(300))
    assert [message.position for message in kept] == list(range(1, 301))
    assert [message.ready for message in kept] == [False] * 290 + [True] * 10
    assert [message.published_at_ms for message in kept] == [BEGINNING_MS + 1000 * at for at in range(300)]
    assert (kept[3].exchange, kept[3].routing_key, kept[3].properties.headers) == ("", "q", {"parity": 1})


def test_without_retention_they_are_gone(tmp_path: Path) -> None:
    host = BareVirtualHost(tmp_path, 1 << 16)
    queue = host.declare("q")
    publish_many(host, "q", 300)
    assert [message.published_at_ms for message in everything(host, "q")] == [0] * 300
    consume(host, queue, 300)
    host.publish("q", b"300")
    host.wait(lambda: host.vhost.journal.journal.segment_count < 3)
    assert len(everything(host, "q")) < 150
    host.close()


@pytest.mark.parametrize("count_max", [1, 7, 1000])
def test_pages_have_what_is_asked_for(host: BareVirtualHost, count_max: int) -> None:
    host.declare("other")
    host.declare("q")
    for _ in range(2):
        publish_many(host, "q", 30)
        publish_many(host, "other", 30)
    kept = everything(host, "q", count_max)
    assert numbers_of(kept) == [*range(30), *range(30)]
    chosen = everything(
        host,
        "q",
        count_max,
        since_ms=BEGINNING_MS + 10_000,
        until_ms=BEGINNING_MS + 20_000,
        matching=Filter({}, {"parity": 1}),
    )
    assert numbers_of(chosen) == [11, 13, 15, 17, 19]
    assert everything(host, "q", count_max, since_ms=BEGINNING_MS + 150_000) == []


def test_a_slice_may_find_nothing_and_go_on(host: BareVirtualHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "SLICE_SIZE", 2000)
    monkeypatch.setattr(history, "SCANNED_SIZE_MAX", 20_000)
    host.declare("q")
    host.declare("other")
    host.publish("q", b"0")
    publish_many(host, "other", 100)
    host.publish("q", b"1")
    host.commit()
    first = asyncio.run(history.list_kept(host.vhost, "q"))
    assert numbers_of(list(first.messages)) == [0]
    assert first.following is not None
    assert numbers_of(everything(host, "q")) == [0, 1]


def test_large_bodies_make_short_pages(host: BareVirtualHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BODIES_SIZE_MAX", 2500)
    host.declare("q")
    publish_many(host, "q", 10)
    host.publish("q", b"10".ljust(5000))
    host.commit()
    assert numbers_of(list(asyncio.run(history.list_kept(host.vhost, "q")).messages)) == [0, 1]
    kept = everything(host, "q")
    assert numbers_of(kept) == list(range(11))
    places = [message.place for message in kept]
    host.declare("into")
    with pytest.raises(ValueError, match="more than 2500 bytes"):
        asyncio.run(history.put_back(host.vhost, places, "into"))
    assert asyncio.run(history.put_back(host.vhost, places[-1:], "into")) == 1


def test_they_are_there_after_a_restart(host: BareVirtualHost) -> None:
    queue = host.declare("q")
    publish_many(host, "q", 200)
    consume(host, queue, 200)
    before = everything(host, "q")
    host.restart()
    host.publish("q", b"200")
    host.commit()
    assert everything(host, "q")[:200] == before
    assert bodies(host.vhost.queues["q"]) == [b"200"]


def test_they_go_when_they_are_too_old(host: BareVirtualHost) -> None:
    queue = host.declare("q")
    publish_many(host, "q", 200)
    consume(host, queue, 200)
    assert len(everything(host, "q")) == 200
    clock.stand_still(clock.now_ms() + DAY_S * 1000 + 1)
    host.publish("q", b"200")
    host.wait(lambda: host.vhost.journal.journal.segment_count < 3)
    kept = everything(host, "q")
    assert len(kept) < 100
    assert numbers_of(kept) == list(range(201 - len(kept), 201))


def test_what_is_put_back_is_published_again(host: BareVirtualHost) -> None:
    queue = host.declare("q")
    into = host.declare("into", message_ttl=3_600_000)
    publish_many(host, "q", 100)
    consume(host, queue, 100)
    kept = everything(host, "q")
    places = [kept[90].place, kept[3].place, kept[3].place, (99, 64), (1, kept[0].place[1] + 8)]
    assert asyncio.run(history.put_back(host.vhost, places, "into")) == 3
    assert [int(body) for body in bodies(into)] == [90, 3, 3]
    message = next(iter(into.entries(0, 1)))[1]
    assert message.published_at_ms == clock.now_ms()
    assert numbers_of([*everything(host, "q")]) == list(range(100))
    host.restart()
    assert [int(body) for body in bodies(host.vhost.queues["into"])] == [90, 3, 3]
    assert [message.exchange for message in everything(host, "into")] == [""] * 3


def test_a_range_is_put_back_into_the_queue_it_was_in(host: BareVirtualHost) -> None:
    queue = host.declare("q", deduplication=True)
    for number in range(20):
        host.publish("q", str(number).encode(), message_id=str(number), headers={"parity": number % 2})
        clock.stand_still(clock.now_ms() + 1000)
    consume(host, queue, 20)
    choice = {"since_ms": BEGINNING_MS + 5000, "until_ms": BEGINNING_MS + 15_000, "matching": Filter({}, {"parity": 0})}
    count, place = asyncio.run(history.put_back_range(host.vhost, "q", "q", count_max=3, **choice))  # type: ignore[arg-type]
    assert count == 3
    while place is not None:
        more, place = asyncio.run(
            history.put_back_range(host.vhost, "q", "q", from_place=place, **choice)  # type: ignore[arg-type]
        )
        count += more
    assert count == 5
    assert [int(body) for body in bodies(queue)] == [6, 8, 10, 12, 14]


def test_all_of_a_call_is_one_unit(host: BareVirtualHost) -> None:
    queue = host.declare("q")
    host.declare("into", max_length=3, overflow="reject-publish")
    publish_many(host, "q", 10)
    consume(host, queue, 10)
    before = host.vhost.journal.journal.sequence
    count, _ = asyncio.run(history.put_back_range(host.vhost, "q", "into"))
    assert count == 3
    # Three publishes and the end of their unit.
    assert host.vhost.journal.journal.sequence - before == 4


def test_queues_of_the_past_are_found_by_name_and_number(host: BareVirtualHost) -> None:
    queue = host.declare("q")
    publish_many(host, "q", 3)
    host.vhost.delete_queue(queue)
    second = host.declare("q")
    host.publish("q", b"7")
    publish_many(host, "q", 0)
    host.vhost.delete_queue(second)
    host.commit()
    assert second.log is not None
    assert queue.log is not None
    assert asyncio.run(history.find_number(host.vhost, "q")) == second.log.number
    assert numbers_of(everything(host, "q")) == [7]
    assert numbers_of(everything(host, queue.log.number)) == [0, 1, 2]
    host.restart()
    assert numbers_of(everything(host, "q")) == [7]
    third = host.declare("q")
    assert third.log is not None
    assert asyncio.run(history.find_number(host.vhost, "q")) == third.log.number
    assert everything(host, "q") == []
    with pytest.raises(AMQPError, match="no queue 'none' in vhost '/', and none of the past"):
        asyncio.run(history.list_kept(host.vhost, "none"))


def test_what_cannot_be_is_refused(host: BareVirtualHost) -> None:
    host.declare("q")
    with pytest.raises(AMQPError, match="no queue 'none'"):
        asyncio.run(history.put_back(host.vhost, [], "none"))
    with pytest.raises(AMQPError, match="no queue 'none'"):
        asyncio.run(history.put_back_range(host.vhost, "q", "none"))
    with pytest.raises(ValueError, match="1001 places"):
        asyncio.run(history.put_back(host.vhost, [(1, 64)] * (CHOSEN_MAX + 1), "q"))
    assert FOREVER_MS > BEGINNING_MS


def test_damage_costs_what_is_damaged_and_is_told(host: BareVirtualHost) -> None:
    queue = host.declare("q")
    publish_many(host, "q", 200)
    consume(host, queue, 200)
    kept = everything(host, "q")
    number, offset = kept[20].place
    path = segment_path(host.directory, number)
    with path.open("r+b") as file:
        file.seek(offset + 200)
        file.write(b"\xff")
    page = asyncio.run(history.list_kept(host.vhost, "q", count_max=1000))
    assert numbers_of(list(page.messages)) == [at for at in range(200) if at != 20]
    assert page.unreadable_count == 1
    assert asyncio.run(history.put_back(host.vhost, [kept[20].place, kept[21].place], "q")) == 1
