"""The automaton finds what ``re`` finds, in a time that has a limit."""

import re
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.policy import automaton
from broker.policy.automaton import Automaton, UnsupportedError, is_simple
from broker.policy.pattern import InvalidPatternError, Pattern

NAME_BYTES_MAX = 255

octet_leaves = ["a", "b", "A", "\\.", ".", "[ab]", "[^a]", "[a-c_]", "\\w", "\\W", "\\d", "\\s", "\\S", "[^\\d\\s]"]
leaves = st.sampled_from([*octet_leaves, "\\n", "^", "$", "\\A", "\\Z", "\\b", "\\B", "(?!)", "\\x80", "[\\x80-\\xff]"])
quantifiers = st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{2,}", "{0,2}?", "*+", "++", "?+"])
groups = st.sampled_from(["(", "(?:", "(?>", "(?=", "(?!", "(?i:", "(?s:", "(?m:"])


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("(?:{}){}".format, inner, quantifiers),
        st.builds("{}{})".format, groups, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("{}{}".format, inner, inner),
        st.builds("(?<={})".format, leaves),
        st.builds("(?<!{})".format, leaves),
    )


expressions = st.recursive(leaves, compound, max_leaves=8)
names = st.text(alphabet="aAb._ \n1\x80", max_size=8).map(lambda name: name.encode("latin-1"))


@settings(max_examples=2000, deadline=None)
@given(expressions, st.lists(names, min_size=1, max_size=8))
def test_it_finds_what_re_finds(expression: str, candidates: list[bytes]) -> None:
    octets = expression.encode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = re.compile(octets)
        tested = Automaton(octets)
    for name in candidates:
        assert tested.is_found_in(name) is (compiled.search(name) is not None), (octets, name)


@pytest.mark.parametrize(
    "expression",
    [
        "(a+)+$",
        "^(a|a)*$",
        "(a*)*b",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        ".*.*.*.*.*=",
        "(?=(a+)+$)b",
        "(?!(a+)+$)b",
        "(?>(?>(?>(?>a*)*)*)*)*b",
        "a?" * 200 + "a" * 200 + "b",
        "(a|a)" * 200 + "b",
        "(x+x+)+y|(a{1,10}){1,10}b",
    ],
)
def test_no_expression_takes_long(expression: str) -> None:
    name = "a" * (NAME_BYTES_MAX - 1) + "!"
    start = time.perf_counter()
    assert not Pattern(expression).matches(name)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("expression", "simple"),
    [
        ("^orders\\.", True),
        (".*", True),
        ("^(?!amq\\.).*", True),
        ("^(eu|us|asia)\\.orders\\..*", True),
        ("^orders\\..*\\.(dlq|retry)$", True),
        ("^(\\.[a-z]+)*$", False),
        ("(ab)+", True),
        ("(ab|cd)+", False),
        ("a.*b.*c.*", False),
        ("(a?)(b?)(c?)", False),
        ("(?:(?:ab|bc)d|(?:bc|ef)g)", False),
        ("(?=a*b*c*)", False),
        ("(?>a*b*c*)", False),
    ],
)
def test_what_is_left_to_re(expression: str, simple: bool) -> None:
    assert is_simple(expression.encode()) is simple


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(a)\\1", "back references are not supported"),
        ("(a)?(?(1)b|c)", "back references are not supported"),
        ("(?L)a", "(?L) is not supported"),
        ("[ab]{3000}", "regular expression is too large"),
        ("((a{50}){50}){50}", "regular expression is too large"),
        ("(" * 500 + "a" + ")" * 500, "regular expression is too large"),
    ],
)
def test_what_is_not_supported(expression: str, reason: str) -> None:
    with pytest.raises(InvalidPatternError, match=re.escape(f'{{"{reason}",0}}')):
        Pattern(expression)


def test_repeating_nothing_takes_no_time() -> None:
    assert Automaton(b"((){60000}){60000}").is_found_in(b"")


def test_the_steps_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = Automaton(b"a*b")
    assert tested.is_found_in(b"aaaab")
    monkeypatch.setattr(automaton, "STEPS_MAX", 5)
    assert not tested.is_found_in(b"aaaab")


def test_the_instructions_have_a_limit() -> None:
    with pytest.raises(UnsupportedError):
        Automaton(b"a{%d}" % automaton.INSTRUCTIONS_MAX)
