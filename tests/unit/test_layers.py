"""Imports point one way, files stay small, and what should be compiled is."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("broker", "protocol", "storage")
ALLOWED = {"broker": {"broker", "protocol", "storage"}, "protocol": {"protocol"}, "storage": {"storage"}}
LINES_MAX = 600
GENERATED = {"protocol/amqp/methods.py"}
IMPORT = re.compile(
    r"(?:^|[;:])[ \t]*(?:from[ \t]+(?P<module>[\w.]+)[ \t]+c?import\b|c?import[ \t]+(?P<modules>[^#;\n]+))",
    re.MULTILINE,
)

sources = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py*") if path.suffix != ".pyc")
compiled = [
    path for path in sources if path.suffix == ".pyx" or (path.suffix == ".py" and path.with_suffix(".pxd").exists())
]


def imported_packages(source: str) -> set[str]:
    """Return the first names of all modules that a source imports, in Python's way or in Cython's."""
    modules: list[str] = []
    for found in IMPORT.finditer(source.replace("\\\n", " ")):
        listed = (found["modules"] or "").split(",")
        modules += [found["module"] or ""] + [words[0] for name in listed if (words := name.split())]
    return {module.removeprefix("cython.cimports.").partition(".")[0] for module in modules} - {""}


@pytest.mark.parametrize(
    "statement",
    [
        "import broker",
        "import broker.turn as turn",
        "import re, broker",
        "import re as r, broker.turn",
        "import re, \\\n    broker",
        "import re; import broker",
        "if compiled: import broker",
        "    from broker import turn",
        "from broker.turn import (",
        "from broker.turn cimport Turn",
        "cimport broker",
        "cimport cython, broker.turn",
        "from cython.cimports.broker.turn import Turn",
        "import cython.cimports.broker.turn",
        "cimport cython  # and\nfrom broker cimport turn",
    ],
)
def test_an_import_is_noticed_in_every_form(statement: str) -> None:
    assert "broker" in imported_packages(f"import os\n{statement}\n")


@pytest.mark.parametrize(
    "statement", ["import brokers", "from storage import broker", "import re  # , broker", "x = 1"]
)
def test_no_import_is_noticed_where_there_is_none(statement: str) -> None:
    assert "broker" not in imported_packages(f"{statement}\n")


@pytest.mark.parametrize("path", sources, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    imported = imported_packages(path.read_text()) & set(PACKAGES)
    assert imported <= ALLOWED[package]


def test_only_the_server_knows_sessions() -> None:
    """What sessions use must not use them: a session is handed over where one is needed."""
    importing = {
        path.relative_to(ROOT)
        for path in sources
        if not path.is_relative_to(ROOT / "broker" / "session")
        and re.search(r"^[ \t]*(from|import)[ \t]+broker\.session\b", path.read_text(), re.MULTILINE)
    }
    assert importing == {Path("broker/server.py")}


@pytest.mark.parametrize("path", sources, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_one_idea(path: Path) -> None:
    if str(path.relative_to(ROOT)) not in GENERATED:
        assert len(path.read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", compiled, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_hot_path_is_compiled(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert module.__file__ is not None
    assert module.__file__.endswith(".so")
