"""The known differences, read out of the document that gives their reasons."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "differences-from-rabbitmq.md"
ROW = re.compile(r"^\| `([a-z0-9-]+)` \|")
HEADINGS = {
    "## On purpose": "on-purpose",
    "## Since RabbitMQ 4": "since-rabbitmq-4",
    "## Not built yet": "not-built",
}
"""The classes of differences, by the headings of their tables."""
SINCE_RABBITMQ_4 = "since-rabbitmq-4"


def known_differences() -> dict[str, str]:
    """The class of every difference in the document, by its id."""
    found: dict[str, str] = {}
    kind = None
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("## "):
            kind = HEADINGS.get(line)
        elif (row := ROW.match(line)) is not None:
            assert kind is not None, f"a row under no known heading: {line}"
            assert row[1] not in found, f"{row[1]} is there twice"
            found[row[1]] = kind
    return found
