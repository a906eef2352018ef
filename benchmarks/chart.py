"""The chart of docs/performance.md: how many times better than the peer, as an SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.figures import CHARTED, FIGURES
from benchmarks.results import Result
from benchmarks.summary import MEASURED, brokers_of, rows
from benchmarks.table import number

WIDTH = 800
LABEL_WIDTH = 280
VALUE_WIDTH = 60
BAR_HEIGHT, ROW_HEIGHT = 16, 24
HEAD_HEIGHT, FOOT_HEIGHT = 64, 28
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
BETTER_COLOUR, WORSE_COLOUR = "#2f6f9f", "#b5523b"
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.title{font-size:16px;font-weight:600}.quiet{fill:#666}"
    ".paper{fill:#fff}.grid{stroke:#ddd}.one{stroke:#666}"
)


class ChartError(Exception):
    """Results that no chart can be drawn of."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it is about, and how many times better."""

    label: str
    ratio: float


def bars_of(results: Sequence[Result]) -> list[Bar]:
    """Return the bars of the figures that are shown."""
    found = {(row.scenario, row.figure): row.ratio for row in rows(results)}
    bars = []
    for scenario, figures in CHARTED.items():
        for figure in figures:
            ratio = found.get((scenario, figure))
            if ratio is not None:
                bars.append(Bar(f"{scenario}: {FIGURES[figure].label}", ratio))
    return bars


def chart(results: Sequence[Result]) -> str:
    """Return the SVG. Raises ``ChartError`` where no figure was measured for Haypile and one peer."""
    bars = bars_of(results)
    if not bars:
        raise ChartError("there is no figure of both Haypile and one peer to be compared")
    servers = {result.broker: result.server for result in results}
    peer = next(broker for broker in brokers_of(results) if broker != MEASURED)
    days = sorted({result.time[:10] for result in results})
    runs = max(result.run for result in results)
    title = f"{servers[MEASURED]}: how many times better than {servers[peer]}"
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return draw(title, f"medians of {runs} alternating {'run' if runs == 1 else 'runs'}, {when}", bars)


def draw(title: str, subtitle: str, bars: Sequence[Bar]) -> str:
    """Return bars on a logarithmic scale, from the line of equality on."""
    low = max([tick for tick in TICKS if tick <= min(1.0, *(bar.ratio for bar in bars))], default=TICKS[0])
    high = min([tick for tick in TICKS if tick >= max(2.0, *(bar.ratio for bar in bars))], default=TICKS[-1])
    height = HEAD_HEIGHT + ROW_HEIGHT * len(bars) + FOOT_HEIGHT
    bottom = height - FOOT_HEIGHT

    def place(ratio: float) -> float:
        share = math.log(min(max(ratio, low), high) / low) / math.log(high / low)
        return LABEL_WIDTH + share * (WIDTH - LABEL_WIDTH - VALUE_WIDTH)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
        f'<text class="quiet" x="16" y="46">{escape(subtitle)}</text>',
    ]
    for tick in TICKS:
        if low <= tick <= high:
            x = place(tick)
            kind = "one" if tick == 1 else "grid"
            parts.append(f'<line class="{kind}" x1="{x:.1f}" y1="{HEAD_HEIGHT - 6}" x2="{x:.1f}" y2="{bottom}"/>')
            parts.append(f'<text class="quiet" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    for index, bar in enumerate(bars):
        y = HEAD_HEIGHT + index * ROW_HEIGHT
        start, end = sorted((place(1), place(bar.ratio)))
        colour = BETTER_COLOUR if bar.ratio >= 1 else WORSE_COLOUR
        base = y + BAR_HEIGHT - 3
        parts.append(f'<text x="{LABEL_WIDTH - 10}" y="{base}" text-anchor="end">{escape(bar.label)}</text>')
        parts.append(
            f'<rect x="{start:.1f}" y="{y}" width="{max(end - start, 1):.1f}" height="{BAR_HEIGHT}" fill="{colour}"/>'
        )
        parts.append(f'<text x="{max(end, place(1)) + 6:.1f}" y="{base}">{number(bar.ratio)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
