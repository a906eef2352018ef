"""Back ends: what knows users beside the configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from broker import extensions
from broker.access.sasl import Credentials
from broker.access.users import CONFIGURED_USERS, ConfiguredUsers, User
from broker.extensions import ExtensionError
from broker.logs import get_logger

log = get_logger("access")


class AuthenticationBackend(ABC):
    """Knows users. One object is made when the broker starts, without arguments."""

    @abstractmethod
    def authenticate(self, credentials: Credentials, peer: Any) -> User | None:
        """Return the user who logs in with these credentials, or None to leave the answer to the next back end.

        ``peer`` is the socket's peer name: a tuple of address and port.
        """


def load_backends(names: Sequence[str], configured: ConfiguredUsers) -> list[tuple[str, Any]]:
    """Return the back ends of these names, in this order; ``configured`` goes by the name of ``users``.

    Raises ``ExtensionError`` where one is not installed, or cannot be used.
    """
    found = {}
    for extension in extensions.find_extensions(extensions.AUTHENTICATION):
        if extension.name == CONFIGURED_USERS:
            raise extension.error("the configured users cannot be replaced")
        found[extension.name] = extension
    backends: list[tuple[str, Any]] = []
    for name in names:
        if name == CONFIGURED_USERS:
            backends.append((name, configured))
            continue
        if name not in found:
            installed = ", ".join(found) or "none"
            raise ExtensionError(f"authentication: no back end '{name}' is installed; there are: {installed}")
        extension = found[name]
        backend = extension.load_subclass(AuthenticationBackend)  # type: ignore[type-abstract]
        backends.append((name, extension.make(backend)))
        log.info("extension loaded", authentication=name, distribution=extension.distribution)
    return backends
