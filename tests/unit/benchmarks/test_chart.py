"""The chart."""

from xml.etree import ElementTree

import pytest

from benchmarks.chart import LABEL_WIDTH, WIDTH, Bar, ChartError, bars_of, chart, draw
from benchmarks.figures import CHARTED, FIGURES
from benchmarks.scenarios import SCENARIOS
from tests.unit.benchmarks.samples import result

SVG = "{http://www.w3.org/2000/svg}"
RESULTS = [
    result("haypile", 1, delivered_s=500.0, p50_us=70.0),
    result("rabbitmq", 1, delivered_s=20.0, p50_us=140.0),
    result("haypile", 2, "l", p50_us=300.0, p99_us=700.0),
    result("rabbitmq", 2, "l", p50_us=150.0, p99_us=700.0),
]


def bars(svg: str) -> list[tuple[float, float]]:
    """Where each bar begins and ends."""
    found = [rect.attrib for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect") if "fill" in rect.attrib]
    return [(float(rect["x"]), float(rect["x"]) + float(rect["width"])) for rect in found]


def test_the_figures_that_are_shown() -> None:
    assert bars_of(RESULTS) == [Bar("b: delivered/s", 25), Bar("l: p50, µs", 0.5), Bar("l: p99, µs", 1)]


def test_bars_go_from_the_line_of_equality_to_both_sides() -> None:
    better, worse, equal = bars(chart(RESULTS))
    assert LABEL_WIDTH <= worse[0] < worse[1] == pytest.approx(better[0], abs=0.2)
    assert better[1] < WIDTH
    assert equal[0] == pytest.approx(better[0], abs=0.2)


def test_the_scale_is_logarithmic() -> None:
    ends = [end - start for start, end in bars(draw("", "", [Bar("a", 4), Bar("b", 16), Bar("c", 64)]))]
    assert ends[1] == pytest.approx(2 * ends[0], rel=0.01)
    assert ends[2] == pytest.approx(3 * ends[0], rel=0.01)


def test_it_says_what_was_compared_when() -> None:
    texts = [text.text for text in ElementTree.fromstring(chart(RESULTS)).iter(f"{SVG}text")]
    assert texts[0] == "Haypile 0.1.0: how many times better than RabbitMQ 3.10.8"
    assert texts[1] == "medians of 2 alternating runs, 2026-11-21 to 2026-11-22"


def test_text_is_escaped() -> None:
    svg = draw('<&"title">', "<sub>", [Bar("<a&b>", 2)])
    assert [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")][:2] == ['<&"title">', "<sub>"]


@pytest.mark.parametrize("ratio", [1e-6, 1e6])
def test_what_is_beyond_the_scale_ends_with_it(ratio: float) -> None:
    ((start, end),) = bars(draw("", "", [Bar("a", ratio)]))
    assert LABEL_WIDTH <= start < end <= WIDTH


def test_nothing_to_compare() -> None:
    with pytest.raises(ChartError, match="both Haypile and one peer"):
        chart(RESULTS[:1])


def test_each_scenario_is_shown_with_figures_that_exist() -> None:
    assert set(CHARTED) == set(SCENARIOS)
    assert {figure for figures in CHARTED.values() for figure in figures} <= set(FIGURES)
