"""Password hashes in RabbitMQ's format: four octets of salt, then SHA-256 of salt and password, all in base64."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

SALT_SIZE_BYTES = 4
DIGEST_SIZE_BYTES = 32

# No password has it: the digest is not one of SHA-256 that anybody could find.
HASH_OF_NOBODY = base64.b64encode(bytes(SALT_SIZE_BYTES + DIGEST_SIZE_BYTES)).decode()


def hash_password(password: bytes) -> str:
    """Return the hash of a password, with a salt of its own."""
    salt = secrets.token_bytes(SALT_SIZE_BYTES)
    return base64.b64encode(salt + hashlib.sha256(salt + password).digest()).decode()


class PasswordHash:
    """The hash of a password, ready to be compared. Raises ``ValueError``, which does not repeat it, if it is none."""

    __slots__ = ("_digest", "_salt")

    def __init__(self, password_hash: str) -> None:
        try:
            decoded = base64.b64decode(password_hash, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("the password hash is not base64") from None
        size = SALT_SIZE_BYTES + DIGEST_SIZE_BYTES
        if len(decoded) != size:
            raise ValueError(
                f"the password hash has {len(decoded)} octets, {size} are needed: RabbitMQ's salted SHA-256"
            )
        self._salt, self._digest = decoded[:SALT_SIZE_BYTES], decoded[SALT_SIZE_BYTES:]

    def is_of(self, password: bytes) -> bool:
        """Return whether a password has this hash, in a time that does not depend on where they differ.

        An empty password never matches, as in RabbitMQ.
        """
        return hmac.compare_digest(hashlib.sha256(self._salt + password).digest(), self._digest) and bool(password)
