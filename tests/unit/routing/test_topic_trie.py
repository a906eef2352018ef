from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.routing.topic_trie import TopicTrie

keys = st.lists(st.sampled_from(["", "a", "b", "*", "#"]), max_size=6).map(".".join)


def naively_matches(pattern: Sequence[str], words: Sequence[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(naively_matches(pattern[1:], words[taken:]) for taken in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and naively_matches(pattern[1:], words[1:])


def words_of(key: str) -> list[str]:
    return key.split(".") if key else []


def found(trie: TopicTrie, routing_key: str) -> set[object]:
    return set(trie.match(routing_key))


@settings(print_blob=True, max_examples=300)
@given(
    st.lists(st.tuples(st.booleans(), keys, st.integers(0, 2)), max_size=40),
    st.lists(keys, min_size=1, max_size=5),
)
def test_the_trie_finds_what_a_naive_matcher_finds(
    changes: list[tuple[bool, str, int]], routing_keys: list[str]
) -> None:
    trie = TopicTrie()
    model: set[tuple[str, int]] = set()
    for add, binding_key, number in changes:
        value = (binding_key, number)
        if add:
            trie.add(binding_key, value)
            model.add(value)
        elif value in model:
            trie.remove(binding_key, value)
            model.remove(value)
        else:
            with pytest.raises(KeyError):
                trie.remove(binding_key, value)
        for routing_key in routing_keys:
            expected = {value for value in model if naively_matches(words_of(value[0]), words_of(routing_key))}
            assert found(trie, routing_key) == expected


@pytest.mark.parametrize(
    ("binding_key", "matching", "other"),
    [
        ("", [""], ["a", ".", "a."]),
        ("#", ["", "a", "a.b", ".", "..."], []),
        ("*", ["a", "*", "#"], ["", "a.b", "."]),
        ("*.*", ["a.b", ".", "a.", ".b"], ["", "a", ".."]),
        ("a.#", ["a", "a.b", "a.", "a.b.c"], ["", "b", "ab", "b.a"]),
        ("#.a", ["a", "b.a", ".a", "a.a"], ["", "a.b", "a."]),
        ("a.#.b", ["a.b", "a..b", "a.c.d.b", "a.b.b"], ["a", "b", "a.b.c"]),
        ("#.#", ["", "a", "a.b"], []),
        ("#.*", ["a", "a.b", "."], [""]),
        ("*.#.*", ["a.b", "a.b.c"], ["", "a"]),
        ("#.a.#", ["a", "b.a", "a.b", "b.a.b"], ["", "b", "b.b"]),
        ("a..b", ["a..b"], ["a.b", "a...b"]),
        ("a.b.", ["a.b."], ["a.b"]),
        ("a*.b#", ["a*.b#"], ["aa.bb", "aa.b"]),
        ("stock.*.nyse", ["stock.eur.nyse", "stock..nyse"], ["stock.nyse", "stock.a.b.nyse"]),
        ("é.\udcff", ["é.\udcff"], ["e.\udcff"]),
    ],
)
def test_words_and_wildcards(binding_key: str, matching: list[str], other: list[str]) -> None:
    trie = TopicTrie()
    trie.add(binding_key, "value")
    for routing_key in matching:
        assert trie.match(routing_key) == ["value"]
    for routing_key in other:
        assert trie.match(routing_key) == []


def visits(trie: TopicTrie, routing_key: str) -> int:
    before = trie.visited
    trie.match(routing_key)
    return trie.visited - before


def test_a_hundred_thousand_binding_keys_cost_no_more_than_ten() -> None:
    trie = TopicTrie()
    costs = []
    for count in (10, 100_000):
        for number in range(count):
            trie.add(f"sensor.{number % 1000}.{number}", number)
            trie.add(f"sensor.*.{number}.#", number)
        costs.append(visits(trie, "sensor.7.7"))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("hashes", [2, 3, 10, 60])
def test_hashes_do_not_multiply_what_a_match_costs(hashes: int) -> None:
    trie = TopicTrie()
    trie.add(".".join(["#", "a"] * hashes), "value")
    trie.add(".".join(["#"] * hashes), "all")
    routing_key = ".".join(["a"] * 126 + ["b"])
    assert trie.match(routing_key) == ["all"]
    nodes = 3 * hashes + 1
    assert visits(trie, routing_key) <= nodes * (127 + 1)


def test_removing_everything_leaves_nothing_to_visit() -> None:
    trie = TopicTrie()
    binding_keys = ["", "#", "*", "a.b.c", "a.#.c", "a.*.c", "a.b.#.#", "#.a"]
    bare = visits(trie, "a.b.c")
    for binding_key in binding_keys:
        trie.add(binding_key, binding_key)
    assert visits(trie, "a.b.c") > bare
    for binding_key in binding_keys:
        trie.remove(binding_key, binding_key)
    assert visits(trie, "a.b.c") == bare
    assert trie.match("") == []
