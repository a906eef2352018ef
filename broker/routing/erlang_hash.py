"""Erlang's hash and random numbers, as far as RabbitMQ's hash exchanges use them: the same keys go the same ways.

``erlang:phash2`` is Jenkins' hash of 1996 with 27 bits kept, whose result never changes between versions of Erlang.
The random numbers are those of ``rand`` with the algorithm exs1024, Vigna's xorshift1024* seeded by xorshift64*.
"""

import cython

WORD_MASK = 0xFFFFFFFF
LONG_MASK = 0xFFFFFFFFFFFFFFFF
HASH_MASK = (1 << 27) - 1
SEED_MASK = (1 << 21) - 1

GOLDEN = 0x9E3779B9
"""Jenkins' arbitrary constant; multiples of it tell kinds of terms apart."""

OF_BINARY = GOLDEN * 13 & WORD_MASK
OF_LIST_END = GOLDEN * 2 & WORD_MASK

HASHES = {None: 45914356, True: 506293, False: 7111573}
"""The hashes of the atoms ``undefined``, ``true`` and ``false``."""

STATE_SIZE = 16
TWO_TO_THE_64 = 18446744073709551616.0


def hash_binary(octets: bytes) -> int:
    """Return ``erlang:phash2(Octets)``."""
    return _binary(octets, 0) & HASH_MASK


def hash_binaries(binaries: list[bytes]) -> int:
    """Return ``erlang:phash2([Octets, ...])`` of a list that is not empty."""
    code: cython.uint = 0
    for octets in binaries:
        code = _binary(octets, code)
    return _mix((OF_LIST_END + 2) & WORD_MASK, OF_LIST_END, code)[2] & HASH_MASK


def jump_consistent_hash(key: int, bucket_count: cython.longlong) -> int:
    """Return a bucket, from 0 on, for any integer.

    With one bucket more, each key stays where it was or moves to the new bucket; the cost grows with the logarithm
    of the number of buckets. The algorithm is that of Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash
    Algorithm" (2014), with Erlang's random numbers in place of theirs, of which only 21 bits of the key are the seed.
    """
    if bucket_count == 1:
        return 0
    state = _seeded(key & SEED_MASK)
    index: cython.int = 0
    bucket: cython.longlong = 0
    following: cython.double = 0.0
    number: cython.ulonglong
    first: cython.ulonglong
    second: cython.ulonglong
    while following < bucket_count:
        bucket = int(following)
        first = state[index]
        index = (index + 1) % STATE_SIZE
        second = state[index]
        second ^= second << 31 & LONG_MASK
        second ^= second >> 11 ^ first ^ first >> 30
        state[index] = second
        number = second * 1181783497276652981 & LONG_MASK
        following = (bucket + 1) / (number / TWO_TO_THE_64) if number else bucket_count
    return bucket


def _seeded(seed: cython.ulonglong) -> list[int]:
    """Return the state of the generator for ``rand:seed_s(exs1024, {Seed, Seed, Seed})``."""
    register: cython.ulonglong = 1
    register |= ((seed + 1) * 2097131 & SEED_MASK) << 43
    register |= ((seed + 1) * 2097133 & SEED_MASK) << 22
    register |= ((seed + 1) * 2097143 & SEED_MASK) << 1
    state: list[int] = []
    for _ in range(STATE_SIZE):
        register ^= register >> 12
        register ^= register << 25 & LONG_MASK
        register ^= register >> 27
        state.append(register * 2685821657736338717 & LONG_MASK)
    state.reverse()
    return state


def _binary(octets: bytes, code: cython.uint) -> int:
    code = (OF_BINARY + code) & WORD_MASK
    size: cython.Py_ssize_t = len(octets)
    if size == 0:
        return code
    at: cython.Py_ssize_t = 0
    a: cython.uint = GOLDEN
    b: cython.uint = GOLDEN
    while size - at >= 12:
        a = (a + _word(octets, at, at + 4)) & WORD_MASK
        b = (b + _word(octets, at + 4, at + 8)) & WORD_MASK
        code = (code + _word(octets, at + 8, at + 12)) & WORD_MASK
        a, b, code = _mix(a, b, code)
        at += 12
    a = (a + _word(octets, at, min(at + 4, size))) & WORD_MASK
    b = (b + _word(octets, at + 4, min(at + 8, size))) & WORD_MASK
    code = (code + size + (_word(octets, at + 8, size) << 8)) & WORD_MASK
    return _mix(a, b, code)[2]


def _word(octets: bytes, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> int:
    """Return up to four octets as a number, the first of them the lowest."""
    word: cython.uint = 0
    at: cython.Py_ssize_t = end
    while at > start:
        at -= 1
        word = word << 8 | octets[at]
    return word


def _mix(a: cython.uint, b: cython.uint, c: cython.uint) -> tuple[int, int, int]:
    a = (a - b - c) & WORD_MASK ^ c >> 13
    b = (b - c - a) & WORD_MASK ^ a << 8 & WORD_MASK
    c = (c - a - b) & WORD_MASK ^ b >> 13
    a = (a - b - c) & WORD_MASK ^ c >> 12
    b = (b - c - a) & WORD_MASK ^ a << 16 & WORD_MASK
    c = (c - a - b) & WORD_MASK ^ b >> 5
    a = (a - b - c) & WORD_MASK ^ c >> 3
    b = (b - c - a) & WORD_MASK ^ a << 10 & WORD_MASK
    c = (c - a - b) & WORD_MASK ^ b >> 15
    return a, b, c
