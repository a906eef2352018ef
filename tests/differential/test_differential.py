"""The same scenarios on Haypile and on a real RabbitMQ: what a client sees must be the same.

Where the two differ, the difference is known by an id, its reason is in docs/differences-from-rabbitmq.md, and the
scenario says what each of them answers. Of the generated scenarios the seed is printed: HAYPILE_TEST_SEED plays others,
HAYPILE_TEST_SCENARIOS more of them.
"""

import os
from dataclasses import replace

import pytest

from tests.differential.comparison import mismatches, report
from tests.differential.conftest import AGAINST_ITSELF
from tests.differential.differences import known_differences
from tests.differential.generated import GENERATORS
from tests.differential.player import Player
from tests.differential.scenarios import GROUPS
from tests.differential.steps import Scenario

pytestmark = [
    pytest.mark.xdist_group("differential"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:This command is deprecated:DeprecationWarning"),
]

SEED = int(os.environ.get("HAYPILE_TEST_SEED", "20260801"))
SCENARIOS_PER_GENERATOR = int(os.environ.get("HAYPILE_TEST_SCENARIOS", "25"))
ATTEMPTS = 2


@pytest.fixture(scope="session")
def rabbitmq_major(rabbitmq: Player) -> int:
    return int(rabbitmq.version.partition(".")[0])


def compare(scenario: Scenario, rabbitmq: Player, haypile: Player, major: int) -> list[str]:
    """The mismatches of a scenario. It is played again if there are any: some scenarios need an unhurried machine."""
    for _ in range(ATTEMPTS):
        ours = haypile.play(scenario)
        theirs = rabbitmq.play(scenario, ours)
        expected = scenario
        if AGAINST_ITSELF:
            expected = replace(scenario, steps=[replace(step, haypile=step.rabbitmq) for step in scenario.steps])
        if not (found := mismatches(expected, theirs, ours, known_differences(), major)):
            break
    return found


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(scenario, id=f"{group}: {scenario.name}")
        for group, scenarios in GROUPS.items()
        for scenario in scenarios
    ],
)
def test_haypile_does_as_rabbitmq(scenario: Scenario, rabbitmq: Player, haypile: Player, rabbitmq_major: int) -> None:
    found = compare(scenario, rabbitmq, haypile, rabbitmq_major)
    assert not found, report(scenario, found)


@pytest.mark.parametrize("group", GENERATORS)
def test_haypile_does_as_rabbitmq_in_generated_scenarios(
    group: str, rabbitmq: Player, haypile: Player, rabbitmq_major: int
) -> None:
    print(f"HAYPILE_TEST_SEED={SEED}")
    failures = []
    for number in range(SCENARIOS_PER_GENERATOR):
        scenario = GENERATORS[group](f"{group}-{number}", SEED + number)
        if found := compare(scenario, rabbitmq, haypile, rabbitmq_major):
            failures.append(report(scenario, found))
    assert not failures, f"{len(failures)} of {SCENARIOS_PER_GENERATOR} differ\n" + "\n\n".join(failures[:3])


def test_every_known_difference_is_seen_in_a_scenario() -> None:
    used = {
        difference for scenarios in GROUPS.values() for scenario in scenarios for difference in scenario.differences
    }
    assert used == known_differences().keys()


def test_the_names_of_scenarios_are_unique() -> None:
    for group, scenarios in GROUPS.items():
        names = [scenario.name for scenario in scenarios]
        assert len(names) == len(set(names)), (group, sorted(names))
