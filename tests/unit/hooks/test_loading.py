"""What is refused of extensions, and what has to be asked for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.access.backends import load_backends
from broker.access.sasl import Credentials
from broker.access.users import Authenticator
from broker.configuration import UserAccount
from broker.extensions import ExtensionError
from broker.hooks import interceptors, queue_arguments
from tests.support.distributions import install

MODULE = """
from broker.access.backends import AuthenticationBackend
from broker.access.users import User
from broker.configuration import Permissions
from broker.hooks.interceptor import Interceptor

class Idle(Interceptor):
    pass

class Publishing(Interceptor):
    def before_publish(self, publication):
        return publication

class Broken(Interceptor):
    def __init__(self):
        raise RuntimeError("out of order")

class Everybody(AuthenticationBackend):
    def authenticate(self, credentials, peer):
        if credentials.username == "fail":
            raise RuntimeError("out of order")
        if credentials.username == "odd":
            return "odd"
        if credentials.username == "elsewhere":
            return User.known_elsewhere("elsewhere", [Permissions("/", read=".*")], ["monitoring"])

class Abstract(AuthenticationBackend):
    pass

def check(value):
    pass

THING = 5
"""
PEER = ("192.0.2.7", 50000)
Load = Callable[[], object]


def authenticator() -> Authenticator:
    return Authenticator([UserAccount("app", password="p"), UserAccount("fail", password="p")])


def load_authentication() -> object:
    return load_backends(("users", "one"), authenticator().configured)


LOADERS: dict[str, Load] = {
    "haypile.interceptors": interceptors.load_extensions,
    "haypile.queue_arguments": queue_arguments.load_extensions,
    "haypile.authentication": load_authentication,
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for known in (interceptors.PUBLISHING, interceptors.DELIVERING, queue_arguments.CHECKS):
        known.clear()
    for group in LOADERS:
        monkeypatch.delitem(__import__("sys").modules, group.replace(".", "_"), raising=False)


@pytest.mark.parametrize(
    ("group", "name", "loaded", "reason"),
    [
        ("haypile.interceptors", "one", "THING", "5 is not a subclass of broker.hooks.interceptor.Interceptor"),
        ("haypile.interceptors", "one", "Broken", "cannot make a Broken: RuntimeError: out of order"),
        ("haypile.queue_arguments", "x_expires", "check", "arguments that are built in cannot be replaced"),
        (
            "haypile.queue_arguments",
            "x_dead_letter_exchange",
            "check",
            "arguments that are built in cannot be replaced",
        ),
        ("haypile.queue_arguments", "x_one", "THING", "5 cannot be called with a value"),
        ("haypile.authentication", "users", "Everybody", "the configured users cannot be replaced"),
        (
            "haypile.authentication",
            "one",
            "THING",
            "5 is not a subclass of broker.access.backends.AuthenticationBackend",
        ),
        (
            "haypile.authentication",
            "one",
            "Abstract",
            "cannot make a Abstract: TypeError: Can't instantiate abstract class Abstract",
        ),
    ],
)
def test_what_is_refused(path: Path, group: str, name: str, loaded: str, reason: str) -> None:
    install(path, group, MODULE, **{name: loaded})
    with pytest.raises(ExtensionError) as refused:
        LOADERS[group]()
    distribution = f"{group.replace('.', '_')} 1.5"
    begin = f"extension '{name.replace('_', '-')}' ({group}) of {distribution}: {reason}"
    assert str(refused.value).startswith(begin)


def test_an_interceptor_is_only_asked_for_what_it_overrides(path: Path) -> None:
    install(path, "haypile.interceptors", MODULE, idle="Idle", publishing="Publishing")
    interceptors.load_extensions()
    interceptors.load_extensions()
    assert (list(interceptors.PUBLISHING), list(interceptors.DELIVERING)) == (["publishing"], [])


def test_back_ends_are_asked_in_their_order(path: Path) -> None:
    install(path, "haypile.authentication", MODULE, one="Everybody", unused="Missing")
    known = authenticator()

    def log_in(name: str, password: bytes = b"p") -> tuple[str | None, str]:
        user, reason = known.authenticate(Credentials(name, password), PEER)
        return None if user is None else user.name, reason

    for order in (("users", "one"), ("one", "users")):
        known.backends = load_backends(order, known.configured)
        assert log_in("app") == ("app", "")
        assert log_in("elsewhere") == ("elsewhere", "")
        assert log_in("app", b"wrong") == (None, "user 'app' - invalid credentials")
        assert log_in("odd") == (None, "user 'odd' - authentication back end 'one' failed")
        failure = (None, "user 'fail' - authentication back end 'one' failed")
        assert log_in("fail") == (("fail", "") if order[0] == "users" else failure)
    assert (known.succeeded_count, known.failed_count) == (5, 5)


def test_a_user_who_is_known_elsewhere_has_no_password_here(path: Path) -> None:
    install(path, "haypile.authentication", MODULE, one="Everybody")
    known = authenticator()
    known.backends = load_backends(("one",), known.configured)
    user, _ = known.authenticate(Credentials("elsewhere", b""), PEER)
    assert user is not None
    assert (user.tags, user.may("/", "read", "q"), user.may("/", "write", "q")) == ({"monitoring"}, True, False)
    assert not user.has_password(b"")
