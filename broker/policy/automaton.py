"""Regular expressions that cannot take forever.

``re`` tries every way in which an expression might match, and for some expressions ("(a+)+$") there are more of them
than one can wait for, while the broker stands still. Here a place in the expression is tried at most once at each octet
of the name. The expressions are parsed by ``re`` itself, so that they mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

INSTRUCTIONS_MAX = 2048
STEPS_MAX = 1_000_000
"""Only look-arounds in look-arounds and atomic groups can come near it; what goes beyond it is no match."""

CHOICES_MAX = 2
"""With that many choices at most, and none of them repeated, ``re`` is fast for every name."""

NEWLINE = ord("\n")
REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
ASSERTS = (_constants.ASSERT, _constants.ASSERT_NOT)
WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
OCTETS = frozenset(range(256))
CATEGORIES = {
    _constants.CATEGORY_DIGIT: frozenset(b"0123456789"),
    _constants.CATEGORY_NOT_DIGIT: OCTETS - frozenset(b"0123456789"),
    _constants.CATEGORY_SPACE: frozenset(b" \t\n\r\f\v"),
    _constants.CATEGORY_NOT_SPACE: OCTETS - frozenset(b" \t\n\r\f\v"),
    _constants.CATEGORY_WORD: WORD,
    _constants.CATEGORY_NOT_WORD: OCTETS - WORD,
}

Place = Callable[[bytes, int], bool]
Tree = Iterable[tuple[Any, Any]]


class UnsupportedError(ValueError):
    """An expression that needs more than this; the text says what."""


class _Octet(NamedTuple):
    """Goes on after an octet that is one of these."""

    octets: frozenset[int]
    then: int


class _At(NamedTuple):
    """Goes on at certain places of the name."""

    is_there: Place
    then: int


class _Split(NamedTuple):
    """Goes on in several ways, the preferred one first."""

    ways: tuple[int, ...]


class _Look(NamedTuple):
    """Goes on if a part of the expression matches, or does not, from ``back`` octets back."""

    part: int
    back: int
    wanted: bool
    then: int


class _Atomic(NamedTuple):
    """Goes on after the first match of a part, and never tries another."""

    part: int
    then: int


_Instruction = _Octet | _At | _Split | _Look | _Atomic | None
"""None is the end of the expression or of a part."""


class Automaton:
    """An expression as instructions. Raises ``UnsupportedError``, or ``re.error`` as ``re.compile`` does."""

    def __init__(self, expression: bytes) -> None:
        tree = _parser.parse(expression)
        self._flags: int = tree.state.flags
        self._instructions: list[_Instruction] = [None]
        self._start = self._sequence(tree, 0, self._flags)

    def is_found_in(self, name: bytes) -> bool:
        """Whether the expression matches anywhere in a name."""
        return _Run(self._instructions, name).match(self._start, range(len(name), -1, -1)) is not None

    def _add(self, instruction: _Instruction) -> int:
        if len(self._instructions) >= INSTRUCTIONS_MAX:
            raise UnsupportedError("regular expression is too large")
        self._instructions.append(instruction)
        return len(self._instructions) - 1

    def _sequence(self, tree: Tree, then: int, flags: int) -> int:
        for op, value in reversed(list(tree)):
            then = self._node(op, value, then, flags)
        return then

    def _node(self, op: Any, value: Any, then: int, flags: int) -> int:
        if op is _constants.AT:
            return self._add(_At(_place(value, flags), then))
        if op is _constants.BRANCH:
            return self._add(_Split(tuple(self._sequence(way, then, flags) for way in value[1])))
        if op is _constants.SUBPATTERN:
            _, added, removed, tree = value
            return self._sequence(tree, then, (flags | added) & ~removed)
        if op in REPEATS:
            least, most, tree = value
            if op is _constants.POSSESSIVE_REPEAT:
                return self._add(_Atomic(self._repeat(tree, least, most, 0, flags, greedy=True), then))
            return self._repeat(tree, least, most, then, flags, greedy=op is _constants.MAX_REPEAT)
        if op is _constants.ATOMIC_GROUP:
            return self._add(_Atomic(self._sequence(value, 0, flags), then))
        if op in ASSERTS:
            direction, tree = value
            back = tree.getwidth()[0] if direction < 0 else 0
            return self._add(_Look(self._sequence(tree, 0, flags), back, op is _constants.ASSERT, then))
        if op is _constants.FAILURE:
            return self._add(_Split(()))
        if op in (_constants.GROUPREF, _constants.GROUPREF_EXISTS):
            raise UnsupportedError("back references are not supported")
        return self._add(_Octet(_octets(op, value, flags), then))

    def _repeat(self, tree: Tree, least: int, most: int, then: int, flags: int, *, greedy: bool) -> int:
        if most is _constants.MAXREPEAT:
            loop = self._add(None)
            body = self._sequence(tree, loop, flags)
            self._instructions[loop] = _Split((body, then) if greedy else (then, body))
            then = loop
        else:
            last = then
            for _ in range(most - least):
                body = self._sequence(tree, then, flags)
                if body == then:
                    break
                then = self._add(_Split((body, last) if greedy else (last, body)))
        for _ in range(least):
            body = self._sequence(tree, then, flags)
            if body == then:
                break
            then = body
        return then


class _Run:
    """One attempt to find an expression in a name."""

    def __init__(self, instructions: list[_Instruction], name: bytes) -> None:
        self._instructions = instructions
        self._name = name
        self._ends: dict[tuple[int, int], int | None] = {}
        self._steps = 0

    def match(self, start: int, positions: Iterable[int]) -> int | None:
        """Return where the preferred match ends, from the last of ``positions`` at which there is one."""
        name, instructions = self._name, self._instructions
        width = len(name) + 1
        waiting = [(start, position) for position in positions]
        seen = bytearray(len(instructions) * width)
        while waiting:
            at, position = waiting.pop()
            if seen[at * width + position]:
                continue
            self._steps += 1
            if self._steps > STEPS_MAX:
                return None
            seen[at * width + position] = True
            match instructions[at]:
                case None:
                    return position
                case _Octet(octets, then):
                    if position < len(name) and name[position] in octets:
                        waiting.append((then, position + 1))
                case _At(is_there, then):
                    if is_there(name, position):
                        waiting.append((then, position))
                case _Split(ways):
                    waiting.extend((way, position) for way in reversed(ways))
                case _Look(part, back, wanted, then):
                    found = position >= back and self._part_end(part, position - back) is not None
                    if found is wanted:
                        waiting.append((then, position))
                case _Atomic(part, then):
                    end = self._part_end(part, position)
                    if end is not None:
                        waiting.append((then, end))
        return None

    def _part_end(self, part: int, position: int) -> int | None:
        if (part, position) not in self._ends:
            self._ends[part, position] = self.match(part, (position,))
        return self._ends[part, position]


def is_simple(expression: bytes) -> bool:
    """Whether ``re`` is fast for an expression, whatever the name."""
    return _choices(_parser.parse(expression)) <= CHOICES_MAX


def _choices(tree: Tree) -> int:
    count = 0
    for op, value in tree:
        if op in REPEATS:
            least, most, inner = value
            if most > 1 and _choices(inner) > 0:
                return CHOICES_MAX + 1
            count += (least != most) + _choices(inner)
        elif op is _constants.BRANCH:
            count += 1 + sum(map(_choices, value[1]))
        elif op is _constants.SUBPATTERN:
            count += _choices(value[3])
        elif op is _constants.ATOMIC_GROUP:
            count += _choices(value)
        elif op in ASSERTS:
            count += _choices(value[1])
        elif op is _constants.GROUPREF_EXISTS:
            count += 1
    return count


def _place(code: Any, flags: int) -> Place:
    multiline = bool(flags & re.MULTILINE)
    places: dict[Any, Place] = {
        _constants.AT_BEGINNING: lambda name, at: at == 0 or (multiline and name[at - 1] == NEWLINE),
        _constants.AT_BEGINNING_STRING: lambda _, at: at == 0,
        _constants.AT_END: lambda name, at: (
            at == len(name) or (name[at] == NEWLINE and (multiline or at == len(name) - 1))
        ),
        _constants.AT_END_STRING: lambda name, at: at == len(name),
        _constants.AT_BOUNDARY: _is_boundary,
        _constants.AT_NON_BOUNDARY: lambda name, at: bool(name) and not _is_boundary(name, at),
    }
    return places[code]


def _is_boundary(name: bytes, at: int) -> bool:
    before = at > 0 and name[at - 1] in WORD
    after = at < len(name) and name[at] in WORD
    return before is not after


def _octets(op: Any, value: Any, flags: int) -> frozenset[int]:
    if op is _constants.ANY:
        return OCTETS if flags & re.DOTALL else OCTETS - {NEWLINE}
    if op is _constants.NOT_LITERAL:
        return OCTETS - _with_other_case({value}, flags)
    if op is _constants.LITERAL:
        return _with_other_case({value}, flags)
    if op is not _constants.IN:
        raise UnsupportedError(f"{str(op).lower()} is not supported")
    octets: set[int] = set()
    for kind, item in value:
        if kind is _constants.LITERAL:
            octets.add(item)
        elif kind is _constants.RANGE:
            octets.update(range(item[0], item[1] + 1))
        elif kind is _constants.CATEGORY:
            octets |= CATEGORIES[item]
    matched = _with_other_case(octets, flags)
    return OCTETS - matched if value[0][0] is _constants.NEGATE else matched


def _with_other_case(octets: set[int], flags: int) -> frozenset[int]:
    if flags & re.LOCALE:
        raise UnsupportedError("(?L) is not supported")
    if flags & re.IGNORECASE:
        return frozenset(octets | {*bytes(octets).lower()} | {*bytes(octets).upper()})
    return frozenset(octets)
