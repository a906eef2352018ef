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


def check_password_hash(password_hash: str) -> None:
    """Raise ``ValueError`` for a hash that is none. Its text does not repeat the hash."""
    _decode(password_hash)


def verify_password(password: bytes, password_hash: str) -> bool:
    """Return whether a password has this hash, in a time that does not depend on where they differ.

    An empty password never matches, as in RabbitMQ. Raises ``ValueError`` for a hash that is none.
    """
    decoded = _decode(password_hash)
    salt, digest = decoded[:SALT_SIZE_BYTES], decoded[SALT_SIZE_BYTES:]
    return hmac.compare_digest(hashlib.sha256(salt + password).digest(), digest) and bool(password)


def _decode(password_hash: str) -> bytes:
    try:
        decoded = base64.b64decode(password_hash, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the password hash is not base64") from None
    size = SALT_SIZE_BYTES + DIGEST_SIZE_BYTES
    if len(decoded) != size:
        raise ValueError(f"the password hash has {len(decoded)} octets, {size} are needed: RabbitMQ's salted SHA-256")
    return decoded
