"""docs/recovery.md and the table of cases name the same."""

import re
from pathlib import Path

from storage.cases import Case

DOCUMENT = Path(__file__).parents[3] / "docs" / "recovery.md"


def test_the_document_has_each_case_once() -> None:
    table = DOCUMENT.read_text().partition("## The table")[2].partition("## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)]
    assert sorted(named) == sorted(Case.__members__)
