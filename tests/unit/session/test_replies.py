"""The replies of a channel by themselves: their order, what they wait for, and an end amid all of that."""

import random
from collections.abc import Callable

import pytest

from broker.session.replies import OrderedReplies


class Channel:
    """Has replies, and sends what is due as soon as anything changes."""

    def __init__(self) -> None:
        self.replies = OrderedReplies(self.on_change, self.on_count)
        self.durable_batch = 0
        self.changes = 0
        self.waiting = 0
        self.sent: list[object] = []

    def on_count(self, count: int) -> None:
        self.waiting += count

    def on_change(self) -> None:
        self.changes += 1
        self.replies.send_due(self.durable_batch)

    def sends(self, what: object) -> Callable[[], bool]:
        def send() -> bool:
            self.sent.append(what)
            return True

        return send

    def commit(self, batch: int) -> None:
        self.durable_batch = batch
        self.replies.send_due(batch)


@pytest.fixture
def channel() -> Channel:
    return Channel()


def test_a_reply_waits_for_those_before_it(channel: Channel) -> None:
    first, second, third = (channel.replies.pending() for _ in range(3))
    third.resolve(channel.sends(3))
    second.resolve(channel.sends(2))
    assert (channel.sent, len(channel.replies)) == ([], 3)
    first.resolve(channel.sends(1))
    assert (channel.sent, len(channel.replies)) == ([1, 2, 3], 0)
    assert channel.changes == 3


def test_a_reply_waits_for_the_journal_and_others_behind_it_do_too(channel: Channel) -> None:
    first, second = channel.replies.pending(), channel.replies.pending()
    assert not channel.replies.waits_for_journal()
    second.resolve(channel.sends(2))
    # The first one waits for something else still.
    assert not channel.replies.waits_for_journal()
    first.resolve(channel.sends(1), batch=5)
    assert channel.replies.waits_for_journal()
    channel.commit(4)
    assert channel.sent == []
    channel.commit(5)
    assert channel.sent == [1, 2]
    assert not channel.replies.waits_for_journal()


def test_a_reply_that_cannot_be_given_after_all_keeps_its_place(channel: Channel) -> None:
    first, second = channel.replies.pending(), channel.replies.pending()
    tried = []

    def refuse() -> bool:
        tried.append(len(tried))
        return False

    second.resolve(channel.sends(2))
    first.resolve(refuse)
    assert (tried, channel.sent, len(channel.replies)) == ([0], [], 2)
    # Nobody tries again by himself.
    channel.commit(1)
    assert tried == [0]
    assert not channel.replies.waits_for_journal()
    first.resolve(channel.sends(1))
    assert channel.sent == [1, 2]


def test_a_reply_may_be_resolved_again_while_it_is_tried(channel: Channel) -> None:
    first, second = channel.replies.pending(), channel.replies.pending()

    def find_out_otherwise() -> bool:
        first.resolve(channel.sends(1))
        return False

    second.resolve(channel.sends(2))
    first.resolve(find_out_otherwise)
    assert (channel.sent, len(channel.replies)) == ([1, 2], 0)


def test_a_reply_may_ask_for_another(channel: Channel) -> None:
    first = channel.replies.pending()

    def ask_for_more() -> bool:
        channel.sent.append(1)
        channel.replies.pending().resolve(channel.sends(2))
        return True

    first.resolve(ask_for_more)
    channel.commit(0)
    assert (channel.sent, len(channel.replies)) == ([1, 2], 0)


def test_after_the_end_nothing_is_sent(channel: Channel) -> None:
    waiting, due = channel.replies.pending(), channel.replies.pending()
    due.resolve(channel.sends("due"), batch=3)
    channel.replies.close()
    assert not channel.replies
    # Whoever they wait for does not know.
    waiting.resolve(channel.sends("late"))
    channel.commit(3)
    assert channel.sent == []
    assert channel.changes == 1
    assert not channel.replies.waits_for_journal()


def test_the_end_may_come_with_a_reply(channel: Channel) -> None:
    first, second = channel.replies.pending(), channel.replies.pending()

    def end() -> bool:
        channel.sent.append("end")
        channel.replies.close()
        return True

    second.resolve(channel.sends("late"))
    first.resolve(end)
    assert (channel.sent, len(channel.replies)) == (["end"], 0)


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_everything(channel: Channel, seed: int) -> None:
    chance = random.Random(seed)
    print(f"seed {seed}")
    asked = 0
    unresolved: dict[int, object] = {}
    batches: dict[int, int] = {}
    refusals: list[int] = []

    def resolve(number: int) -> None:
        reply = unresolved.pop(number)
        batches[number] = chance.randrange(channel.durable_batch + 3)
        refuses = chance.random() < 0.2

        def send() -> bool:
            assert batches[number] <= channel.durable_batch
            if refuses:
                refusals.append(number)
                unresolved[number] = reply
                return False
            return channel.sends(number)()

        reply.resolve(send, batches[number])  # type: ignore[attr-defined]

    for _ in range(300):
        fate = chance.random()
        if fate < 0.4:
            unresolved[asked] = channel.replies.pending()
            asked += 1
        elif fate < 0.8 and unresolved:
            resolve(chance.choice(sorted(unresolved)))
        else:
            channel.commit(channel.durable_batch + chance.randrange(2))
        # What is due has been sent: the next one waits for somebody, or for the journal.
        if channel.replies:
            following = len(channel.sent)
            assert following in unresolved or batches[following] > channel.durable_batch
            assert channel.replies.waits_for_journal() == (following not in unresolved)
    while unresolved:
        resolve(min(unresolved))
        channel.commit(channel.durable_batch + 3)
    assert channel.sent == list(range(asked))
    assert refusals
