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
IMPORT = re.compile(r"^\s*(?:from|cimport|import)\s+(?:cython\.cimports\.)?(\w+)", re.MULTILINE)

sources = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py*") if path.suffix != ".pyc")
compiled = [
    path for path in sources if path.suffix == ".pyx" or (path.suffix == ".py" and path.with_suffix(".pxd").exists())
]


@pytest.mark.parametrize("path", sources, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    imported = set(IMPORT.findall(path.read_text())) & set(PACKAGES)
    assert imported <= ALLOWED[package]


@pytest.mark.parametrize("path", sources, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_one_idea(path: Path) -> None:
    if str(path.relative_to(ROOT)) not in GENERATED:
        assert len(path.read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", compiled, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_hot_path_is_compiled(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert module.__file__ is not None
    assert module.__file__.endswith(".so")
