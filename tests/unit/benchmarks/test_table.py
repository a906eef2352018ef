"""Tables of results."""

import pytest

from benchmarks.table import markdown_table, number, text_table
from tests.unit.benchmarks.samples import result


@pytest.mark.parametrize(
    ("value", "text"), [(6_081_234.5, "6,081,234"), (99.94, "99.9"), (4.126, "4.13"), (0.5, "0.50"), (-120.0, "-120")]
)
def test_numbers_can_be_read(value: float, text: str) -> None:
    assert number(value) == text


RESULTS = [
    result("haypile", 1, delivered_s=500_000.0, p50_us=70.0),
    result("rabbitmq", 1, delivered_s=20_000.0, p50_us=140.0),
    result("haypile", 2, delivered_s=550_000.0, p50_us=80.0),
    result("rabbitmq", 2, delivered_s=22_000.0, p50_us=160.0),
]


def test_text() -> None:
    assert text_table(RESULTS).splitlines() == [
        "scenario  figure       haypile  spread  rabbitmq  spread  times better",
        "b         delivered/s  525,000     10%    21,000     10%          25.0",
        "b         p50, µs         75.0     13%       150     13%          2.00",
    ]


def test_one_broker_alone_has_no_ratio() -> None:
    assert text_table(RESULTS[:1]).splitlines()[1] == "b         delivered/s  500,000      0%"


def test_markdown() -> None:
    assert markdown_table(RESULTS).splitlines() == [
        "| scenario | figure | haypile | spread | rabbitmq | spread | times better |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| b | delivered/s | 525,000 | 10% | 21,000 | 10% | 25.0 |",
        "| b | p50, µs | 75.0 | 13% | 150 | 13% | 2.00 |",
    ]
