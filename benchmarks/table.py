"""Results as a table, for a terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures import FIGURES
from benchmarks.results import Result
from benchmarks.summary import Summary, brokers_of, rows

HEAD = ["scenario", "figure"]
RATIO = "times better"


def number(value: float) -> str:
    """Return a number as people read it."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def _cells(summary: Summary | None) -> list[str]:
    return ["", ""] if summary is None else [number(summary.median), f"{summary.spread:.0%}"]


def _lines(results: Sequence[Result]) -> list[list[str]]:
    brokers = brokers_of(results)
    heads = [cell for broker in brokers for cell in (broker, "spread")]
    lines = [[*HEAD, *heads, *([RATIO] if len(brokers) > 1 else [])]]
    for row in rows(results):
        cells = [cell for broker in brokers for cell in _cells(row.summaries.get(broker))]
        times = [number(row.ratio) if row.ratio is not None else ""] if len(brokers) > 1 else []
        lines.append([row.scenario, FIGURES[row.figure].label, *cells, *times])
    return lines


def text_table(results: Sequence[Result]) -> str:
    """Return a table for a terminal: medians of the runs, and spreads."""
    lines = _lines(results)
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    text = ""
    for line in lines:
        left = [cell.ljust(width) for cell, width in zip(line[:2], widths, strict=False)]
        right = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        text += "  ".join(left + right).rstrip() + "\n"
    return text


def markdown_table(results: Sequence[Result]) -> str:
    """Return the same table as Markdown."""
    head, *lines = _lines(results)
    rule = ["---", "---", *["---:"] * (len(head) - 2)]
    return "".join("| " + " | ".join(line) + " |\n" for line in (head, rule, *lines))
