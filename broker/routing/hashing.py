"""Hashes for exchange types that spread messages: the same today, tomorrow and after a restart."""

from __future__ import annotations

from hashlib import blake2b

from broker.routing.field_value import identity

_MASK = (1 << 64) - 1
_MULTIPLIER = 2862933555777941757


def hash_octets(octets: bytes) -> int:
    """Return 64 well mixed bits."""
    return int.from_bytes(blake2b(octets, digest_size=8).digest(), "big")


def hash_value(value: object) -> int:
    """Return 64 bits for a field value: the same for equal ones, and for text and the octets it stands for."""
    if isinstance(value, int) and not isinstance(value, bool):
        return hash_octets(b"%d" % value)
    if isinstance(value, str):
        return hash_octets(b"S" + value.encode("utf-8", "surrogateescape"))
    if isinstance(value, bytes | bytearray | memoryview):
        return hash_octets(b"S" + value)
    return hash_octets(b"V" + repr(identity(value)).encode("utf-8", "surrogateescape"))


def jump_consistent_hash(key: int, bucket_count: int) -> int:
    """Return a bucket, from 0 on, for a key of 64 bits.

    With one bucket more, each key stays where it was or moves to the new bucket; the cost grows with the logarithm
    of the number of buckets. The algorithm is that of Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash
    Algorithm" (2014).
    """
    bucket, following = 0, 0
    while following < bucket_count:
        bucket = following
        key = (key * _MULTIPLIER + 1) & _MASK
        following = int((bucket + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return bucket
