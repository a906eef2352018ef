"""Compares the two transcripts of a scenario."""

import re
from collections.abc import Callable
from itertools import zip_longest

from tests.differential.differences import SINCE_RABBITMQ_4
from tests.differential.player import Transcript
from tests.differential.steps import Scenario, Step

END = "(left at the end)"
LAST_DEATH = re.compile(r"(, )?x-last-death-(?:exchange|queue|reason)=S:'[^']*'")
DEATHS = re.compile(r"x-death=A\[((?:F\{[^{}]*\}(?:, )?)*)\]")
DEATH = re.compile(r"F\{([^{}]*)\}")
DEATH_FIELD = re.compile(r"[\w-]+=(?:A\[[^\]]*\]|[^,]+)")


def _sort_fields(line: str) -> str:
    def sort(deaths: re.Match[str]) -> str:
        return DEATH.sub(lambda death: "F{" + ", ".join(sorted(DEATH_FIELD.findall(death[1]))) + "}", deaths[0])

    return DEATHS.sub(sort, line)


def _sort_deaths(line: str) -> str:
    return DEATHS.sub(lambda deaths: "x-death=A[" + ", ".join(sorted(DEATH.findall(deaths[1]))) + "]", line)


def _without_first_count(line: str) -> str:
    if "x-delivery-count=l:0" not in line:
        return line
    return re.sub(r"x-delivery-count=l:0(, )?", "", line).replace(", }", "}").replace("headers={} ", " ")


EVERYWHERE: dict[str, Callable[[str], str]] = {
    "last-death-headers": lambda line: LAST_DEATH.sub("", line),
    "death-fields": _sort_fields,
    "deaths-by-recency": _sort_deaths,
    "delivery-count-zero": _without_first_count,
}
"""Differences to an older RabbitMQ that are seen wherever something happens: how a line looks without them. A scenario
of its own says for each of them what the two show."""


def mismatches(
    scenario: Scenario,
    rabbitmq: Transcript,
    haypile: Transcript,
    differences: dict[str, str],
    rabbitmq_major: int,
) -> list[str]:
    """Every step at which the brokers differ, unless it is known to; or no longer differ as is known.

    What is different only since RabbitMQ 4 is the same when the RabbitMQ at hand is that new.
    """
    found = []
    for index, (theirs, ours) in enumerate(zip(rabbitmq, haypile, strict=True)):
        step = scenario.steps[index] if index < len(scenario.steps) else None
        if step is not None and step.difference is not None:
            is_new = differences[step.difference] == SINCE_RABBITMQ_4 and rabbitmq_major >= 4
            expected = step.haypile if is_new else step.rabbitmq
            same = theirs == list(expected) and ours == list(step.haypile)
        elif rabbitmq_major < 4:
            same = list(map(without_differences, theirs)) == list(map(without_differences, ours))
        else:
            same = theirs == ours
        if not same:
            found.append(_describe(index, step, theirs, ours))
    return found


def without_differences(line: str) -> str:
    """A line without what is different everywhere in an older RabbitMQ."""
    for rule in EVERYWHERE.values():
        line = rule(line)
    return line


def report(scenario: Scenario, found: list[str]) -> str:
    """What a failing test says about a scenario."""
    steps = "\n".join(f"  {index:3} {step}" for index, step in enumerate(scenario.steps))
    seed = "" if scenario.seed is None else f" (seed {scenario.seed})"
    return f"scenario {scenario.name}{seed}:\n{steps}\n" + "\n".join(found)


def _describe(index: int, step: Step | None, theirs: list[str], ours: list[str]) -> str:
    lines = [f"at step {index}: {END if step is None else step}"]
    if step is not None and step.difference is not None:
        lines.append(f"  known difference {step.difference}:")
        lines += [f"    RabbitMQ expected: {line}" for line in step.rabbitmq]
        lines += [f"    Haypile  expected: {line}" for line in step.haypile]
    for their_line, our_line in zip_longest(theirs, ours):
        if their_line is not None and their_line == our_line:
            lines.append(f"    both:     {their_line}")
        else:
            lines += [f"    RabbitMQ: {their_line}"] if their_line is not None else []
            lines += [f"    Haypile:  {our_line}"] if our_line is not None else []
    return "\n".join(lines)
