"""The checker of the crash tests sees what it is there for."""

import pytest

from tests.support.checker import QueueModel


def model() -> QueueModel:
    """1 and 2 are settled, 3 is acknowledged, 4 to 6 are confirmed, and 7 is on its way."""
    made = QueueModel()
    for number in range(1, 8):
        made.publish(number)
    made.confirmed = set(range(1, 7))
    made.acked = {1, 2, 3}
    made.settled = {1, 2}
    return made


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([4, 5, 6], None),
        ([3, 4, 5, 6, 7], None),
        ([4, 6], {"lost": [5]}),
        ([4, 5, 5, 6], {"duplicated": [5]}),
        ([2, 4, 5, 6], {"resurrected": [2]}),
        ([4, 5, 6, 8], {"unexpected": [8]}),
        ([4, 6, 5], {"reordered": [4, 6, 5]}),
    ],
)
def test_each_problem_is_seen(found: list[int], problem: dict[str, list[int]] | None) -> None:
    assert model().problems(found) == (problem or {})


def test_what_was_found_once_is_promised() -> None:
    made = model()
    made.accept([4, 5, 6, 7])
    assert made.problems([4, 5, 6]) == {"lost": [7]}
    assert made.problems([3, 4, 5, 6, 7]) == {"resurrected": [3]}
    assert made.next_number == 8


def test_what_was_taken_out_for_sure_must_not_come_back() -> None:
    made = model()
    made.accept([4, 5, 6])
    made.drained()
    assert made.problems([]) == {}
    assert made.problems([5]) == {"resurrected": [5]}
