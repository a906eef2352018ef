"""What cannot be simulated has to stand where it can be replaced: no thread, clock or chance beside the seams."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = re.compile(
    r"^[ \t]*(?:from[ \t]+|c?import[ \t]+)(threading|time|random|secrets|uuid|posix\.time)\b|urandom", re.MULTILINE
)
ALLOWED = {
    # The seams themselves.
    "storage/machine.py",
    "storage/committer.pyx",
    "storage/worker.pyx",
    "broker/clock.pyx",
    # What tells the time to people, and names that are to be guessed by nobody: nothing else comes of them.
    "broker/hooks/event_properties.py",
    "broker/log_line.pyx",
    "broker/session/direct_reply.py",
    "broker/session/names.py",
    # It reads and reports, and changes nothing; what it reports to has a lock for the event loop and its thread.
    "storage/scrubber.py",
    "broker/durability/damage_report.py",
    # A tool for people, and for journals that nobody has open.
    "storage/repair.py",
    # Chance is what it is for.
    "broker/routing/random_exchange.py",
}
SIMULATED = (
    "storage",
    "broker/durability",
    "broker/queueing",
    "broker/dead_lettering",
    "broker/routing",
    "broker/session",
)
OTHERS = ("broker/paging", "broker/hooks", "broker/policy")

sources = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (*SIMULATED, *OTHERS)
    for path in (ROOT / folder).rglob("*.py*")
    if path.suffix in (".py", ".pyx")
)
sources += sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / "broker").glob("*.py*") if path.suffix == ".pyx"
)


@pytest.mark.parametrize("source", sources)
def test_threads_time_and_chance_come_through_a_seam(source):
    found = SOURCE.search((ROOT / source).read_text())
    assert (found is None) or source in ALLOWED, f"{source}: {found and found[0]}"


def test_the_list_is_no_longer_than_it_has_to_be():
    assert sorted(ALLOWED) == sorted(source for source in sources if SOURCE.search((ROOT / source).read_text()))
