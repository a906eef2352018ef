"""Table and chart of results that were measured before.

usage: python -m benchmarks.report FILE [--markdown] [--chart FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.chart import ChartError, chart
from benchmarks.results import ResultsError, read_results
from benchmarks.table import markdown_table, text_table


def main() -> None:
    """Print the table, and draw the chart if that is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description="Table and chart of results that were measured before."
    )
    parser.add_argument("results", type=Path, help="the file that --output of python -m benchmarks has written")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios into this SVG")
    arguments = parser.parse_args()
    try:
        results = read_results(arguments.results)
        sys.stdout.write((markdown_table if arguments.markdown else text_table)(results))
        if arguments.chart is not None:
            arguments.chart.write_text(chart(results))
    except (ResultsError, ChartError) as error:
        sys.exit(f"benchmarks: {error}")
    except OSError as error:
        sys.exit(f"benchmarks: {error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
