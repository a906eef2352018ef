"""Who may log in, from where, and what they may do."""

from typing import Any

import pytest

from broker.access.passwords import hash_password
from broker.access.sasl import Credentials
from broker.access.users import Authenticator, User, is_loopback
from broker.configuration import Configuration, Permissions, UserAccount

LOCAL, REMOTE = ("127.0.0.1", 50000), ("192.0.2.7", 50000)


def user_with(**permissions: str) -> User:
    return User(UserAccount("app", password="p", permissions=(Permissions("/", **permissions),)))


def authenticator() -> Authenticator:
    hashed = UserAccount("hashed", password_hash=hash_password(b"p"))
    return Authenticator((*Configuration().users, UserAccount("app", password="p"), hashed))


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.9.1", 1), True),
        (("::1", 1, 0, 0), True),
        (("::ffff:127.0.0.1", 1, 0, 0), True),
        (("::ffff:192.0.2.7", 1, 0, 0), False),
        (("fe80::1%eth0", 1, 0, 2), False),
        (("192.0.2.7", 1), False),
        (("0.0.0.0", 1), False),
        ("", True),
        ("/run/client.sock", True),
        (None, False),
    ],
)
def test_loopback_is_told_by_the_peer(peer: Any, expected: bool) -> None:
    assert is_loopback(peer) is expected


def test_guest_logs_in_from_this_machine_only() -> None:
    known = authenticator()
    user, reason = known.authenticate(Credentials("guest", b"guest"), LOCAL)
    assert user is not None
    assert (user.name, reason) == ("guest", "")
    assert known.authenticate(Credentials("guest", b"guest"), REMOTE) == (
        None,
        "user 'guest' can only connect via localhost",
    )


def test_other_users_log_in_from_anywhere() -> None:
    for name in ("app", "hashed"):
        assert authenticator().authenticate(Credentials(name, b"p"), REMOTE)[0] is not None


@pytest.mark.parametrize(
    "credentials",
    [Credentials("app", b"wrong"), Credentials("app", b""), Credentials("nobody", b"p"), Credentials("", b"")],
)
def test_a_wrong_name_and_a_wrong_password_are_refused_alike(credentials: Credentials) -> None:
    expected = f"user '{credentials.username}' - invalid credentials"
    assert authenticator().authenticate(credentials, LOCAL) == (None, expected)


def test_logins_are_counted() -> None:
    known = authenticator()
    known.authenticate(Credentials("app", b"p"), LOCAL)
    known.authenticate(Credentials("app", b"wrong"), LOCAL)
    known.authenticate(Credentials("nobody", b"wrong"), LOCAL)
    assert (known.succeeded_count, known.failed_count) == (1, 2)


def test_patterns_are_searched_in_the_name() -> None:
    user = user_with(configure="^app-", write="jobs", read="^(in|out)$")
    assert user.may("/", "configure", "app-x")
    assert not user.may("/", "configure", "my-app-x")
    assert user.may("/", "write", "all-jobs-here")
    assert user.may("/", "read", "in")
    assert not user.may("/", "read", "in2")


def test_an_empty_pattern_allows_nothing() -> None:
    user = user_with(configure="", write=".*")
    assert not user.may("/", "configure", "x")
    assert not user.may("/", "configure", "")
    assert not user.may("/", "read", "x")
    assert user.may("/", "write", "x")


def test_the_default_exchange_has_a_name_of_its_own() -> None:
    assert user_with(write=r"^amq\.default$").may("/", "write", "")
    assert not user_with(write="^$").may("/", "write", "")


def test_a_user_without_permissions_in_a_vhost_stays_outside() -> None:
    user = user_with(read=".*")
    assert user.may_enter("/")
    assert not user.may_enter("other")
    assert not user.may("other", "read", "x")
    assert not User(UserAccount("app", password="p")).may_enter("/")


def test_passwords_are_not_shown() -> None:
    account = UserAccount("app", password="s3cret")
    assert "s3cret" not in f"{account!r} {User(account)!r} {Configuration(users=(account,))!r}"
