import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.extensions import ExtensionError, find_extensions
from broker.routing import registry
from broker.routing.exchange_type import InvalidDefinitionError
from broker.routing.registry import EXCHANGE_TYPES, find_exchange_type

MODULE = """
from broker.routing.fanout import FanoutExchangeType
from broker.routing.exchange_type import ExchangeType

class Good(FanoutExchangeType):
    name = "x-good"

class Abstract(ExchangeType):
    name = "x-abstract"

class Nameless(FanoutExchangeType):
    pass

def function():
    pass
"""


class Environment:
    """Distributions that are installed for one test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "module_of_test_extensions.py").write_text(MODULE)

    def install(self, name: str, *entries: str, group: str = "haypile.exchange_types") -> None:
        metadata = self.directory / f"{name}-1.5.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{entry}\n" for entry in entries))


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    monkeypatch.syspath_prepend(tmp_path)
    known = dict(EXCHANGE_TYPES)
    yield Environment(tmp_path)
    EXCHANGE_TYPES.clear()
    EXCHANGE_TYPES.update(known)
    sys.modules.pop("module_of_test_extensions", None)


def test_an_exchange_type_is_found_once_it_is_loaded(environment: Environment) -> None:
    environment.install("one", "x-good = module_of_test_extensions:Good")
    with pytest.raises(InvalidDefinitionError):
        find_exchange_type("x-good")
    registry.load_extensions()
    assert find_exchange_type("x-good").__name__ == "Good"
    registry.load_extensions()


def test_groups_do_not_mix(environment: Environment) -> None:
    environment.install("one", "z = nowhere:a", "b = nowhere:b", group="haypile.test_group")
    environment.install("two", "c = nowhere:c", group="haypile.test_group_2")
    found = list(find_extensions("haypile.test_group"))
    assert [(extension.name, extension.distribution) for extension in found] == [("b", "one 1.5"), ("z", "one 1.5")]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("direct = module_of_test_extensions:Good", "exchange types that are built in cannot be replaced"),
        ("x-random = module_of_test_extensions:Good", "exchange types that are built in cannot be replaced"),
        (
            "x-a = no_such_module:Good",
            "cannot load 'no_such_module:Good': ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            "x-a = module_of_test_extensions:Missing",
            "cannot load 'module_of_test_extensions:Missing': AttributeError: "
            "module 'module_of_test_extensions' has no attribute 'Missing'",
        ),
        (
            "x-abstract = module_of_test_extensions:Abstract",
            "Abstract does not implement bind, route, unbind",
        ),
        (
            "x-other = module_of_test_extensions:Good",
            "Good.name has to be 'x-other', as the entry point is called",
        ),
        (
            "x-nameless = module_of_test_extensions:Nameless",
            "Nameless.name has to be 'x-nameless', as the entry point is called",
        ),
    ],
)
def test_what_is_refused(environment: Environment, entry: str, reason: str) -> None:
    environment.install("one", entry)
    with pytest.raises(ExtensionError) as refused:
        registry.load_extensions()
    name = entry.partition(" ")[0]
    assert str(refused.value) == f"extension '{name}' (haypile.exchange_types) of one 1.5: {reason}"


def test_what_is_no_exchange_type_is_refused(environment: Environment) -> None:
    environment.install("one", "x-a = module_of_test_extensions:function")
    with pytest.raises(ExtensionError, match=r"is not a subclass of broker\.routing\.exchange_type\.ExchangeType$"):
        registry.load_extensions()


def test_two_distributions_cannot_have_the_same_type(environment: Environment) -> None:
    for name in ("one", "two"):
        environment.install(name, "x-good = module_of_test_extensions:Good")
    with pytest.raises(ExtensionError) as refused:
        registry.load_extensions()
    reason = "extension 'x-good' (haypile.exchange_types) of two 1.5: one 1.5 has one of the same name"
    assert str(refused.value) == reason
