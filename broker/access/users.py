"""Who may log in, from where, and what they may do."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from broker.access.passwords import HASH_OF_NOBODY, PasswordHash, hash_password
from broker.access.sasl import Credentials
from broker.configuration import Permissions, UserAccount
from broker.logs import get_logger

log = get_logger("access")

DEFAULT_EXCHANGE_ALIAS = "amq.default"

KNOWN_ADDRESSES_MAX = 1024
"""Of so many addresses it is remembered whether they are on this machine."""

CONFIGURED_USERS = "users"
"""How the users of the configuration are called among the back ends."""

_NOBODY = PasswordHash(HASH_OF_NOBODY)
_EVERYTHING = re.compile(".*")


class User:
    """A user who has logged in, or could."""

    def __init__(self, account: UserAccount) -> None:
        self.name = account.name
        self.tags = frozenset(account.tags)
        self.loopback_only = account.loopback_only
        self._password_hash = PasswordHash(account.password_hash or hash_password(account.password.encode()))
        self._permissions = {permissions.vhost: _compile(permissions) for permissions in account.permissions}

    @classmethod
    def known_elsewhere(cls, name: str, permissions: Iterable[Permissions], tags: Iterable[str] = ()) -> User:
        """Return a user whose password somebody else knows; it has none here."""
        account = UserAccount(name, password_hash=HASH_OF_NOBODY, tags=tuple(tags), permissions=tuple(permissions))
        return cls(account)

    def __repr__(self) -> str:
        return f"User({self.name!r})"

    def has_password(self, password: bytes) -> bool:
        """Return whether this is the user's password."""
        return self._password_hash.is_of(password)

    def may_enter(self, vhost: str) -> bool:
        """Return whether the user has permissions in a virtual host at all."""
        return vhost in self._permissions

    def may(self, vhost: str, permission: str, name: str) -> bool:
        """Return whether the user may ``configure``, ``write`` or ``read`` the exchange or queue of that name.

        The default exchange, whose name is empty, goes by the name of ``amq.default`` here, as in RabbitMQ.
        """
        patterns = self._permissions.get(vhost)
        if patterns is None:
            return False
        pattern = patterns[permission]
        return pattern is _EVERYTHING or pattern.search(name or DEFAULT_EXCHANGE_ALIAS) is not None


def _compile(permissions: Permissions) -> dict[str, re.Pattern[str]]:
    # In RabbitMQ the empty pattern matches only the empty name, and there is none.
    return {
        permission: _EVERYTHING
        if (pattern := getattr(permissions, permission)) == ".*"
        else re.compile(pattern or "^$")
        for permission in ("configure", "write", "read")
    }


class ConfiguredUsers:
    """The users of the configuration."""

    def __init__(self, accounts: Iterable[UserAccount]) -> None:
        self._users = {account.name: User(account) for account in accounts}

    def authenticate(self, credentials: Credentials, peer: Any) -> User | None:  # noqa: ARG002
        """Return the user who has these credentials.

        A client cannot tell from the time whether it was the name or the password that is wrong.
        """
        user = self._users.get(credentials.username)
        if user is None:
            _NOBODY.is_of(credentials.password)
            return None
        return user if user.has_password(credentials.password) else None


class Authenticator:
    """Asks the back ends who a client is, and counts who tried to be somebody.

    ``backends`` are names and back ends (see ``broker.access.backends``) in the order in which they are asked.
    """

    def __init__(self, accounts: Iterable[UserAccount]) -> None:
        self.configured = ConfiguredUsers(accounts)
        self.backends: list[tuple[str, Any]] = [(CONFIGURED_USERS, self.configured)]
        self.succeeded_count = 0
        self.failed_count = 0

    def authenticate(self, credentials: Credentials, peer: Any) -> tuple[User | None, str]:
        """Return the user, or None and why; the reason is for the log, and never for the client.

        ``peer`` is the socket's peer name. A client cannot tell from the text whether it was the name or the password
        that is wrong.
        """
        user, reason = self._ask(credentials, peer)
        if user is None:
            self.failed_count += 1
            return None, f"user '{credentials.username}' {reason}"
        self.succeeded_count += 1
        return user, ""

    def _ask(self, credentials: Credentials, peer: Any) -> tuple[User | None, str]:
        for name, backend in self.backends:
            try:
                user = backend.authenticate(credentials, peer)
            except Exception:
                # Foreign code, which can fail in any way. Whoever it might have turned away is not let in by others.
                log.exception("authentication back end failed", authentication=name, user=credentials.username)
                return None, f"- authentication back end '{name}' failed"
            if user is None:
                continue
            if not isinstance(user, User):
                log.error("authentication back end returned no User", authentication=name, returned=type(user).__name__)
                return None, f"- authentication back end '{name}' failed"
            if user.loopback_only and not is_loopback(peer):
                return None, "can only connect via localhost"
            return user, ""
        return None, "- invalid credentials"


def is_loopback(peer: Any) -> bool:
    """Return whether a socket's peer name is on this machine: loopback, also mapped into IPv6, or a Unix socket."""
    if not isinstance(peer, tuple):
        # The peer name of a Unix socket is a string; a peer that is gone already has none.
        return isinstance(peer, str | bytes)
    return _is_loopback_address(peer[0])


@lru_cache(KNOWN_ADDRESSES_MAX)
def _is_loopback_address(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
