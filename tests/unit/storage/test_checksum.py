import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.checksum import crc32c, crc32c_before, crc32c_with_tables

# RFC 3720, appendix B.4, and the check value of the polynomial.
KNOWN = [
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(reversed(range(32))), 0x113FDB5C),
    (b"123456789", 0xE3069283),
    (b"", 0),
]


@pytest.mark.parametrize("checksum", [crc32c, crc32c_with_tables])
@pytest.mark.parametrize(("data", "expected"), KNOWN)
def test_known_checksums(checksum, data, expected):
    assert checksum(data) == expected


@given(st.binary(max_size=300), st.integers(0, 300))
def test_both_ways_agree_and_can_go_on(data, cut):
    assert crc32c(data) == crc32c_with_tables(data)
    assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)
    assert crc32c_with_tables(data[cut:], crc32c_with_tables(data[:cut])) == crc32c(data)


def test_a_checksum_can_be_taken_back():
    chance = random.Random(3720)
    for size in (0, 1, 7, 8, 9, 100):
        data, before = chance.randbytes(size), chance.getrandbits(32)
        assert crc32c_before(data, crc32c(data, before)) == before
