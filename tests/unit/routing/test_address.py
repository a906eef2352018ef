import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.routing.address import decode_address, encode_address

short_strings = st.binary(max_size=255)


@given(short_strings, short_strings)
def test_every_address_survives_the_way_there_and_back(exchange: bytes, routing_key: bytes) -> None:
    address = bytes([len(exchange)]) + exchange + bytes([len(routing_key)]) + routing_key
    assert encode_address(*decode_address(address)) == address


def test_an_address_is_exchange_and_routing_key() -> None:
    assert encode_address("amq.topic", "ä") == b"\x09amq.topic\x02\xc3\xa4"
    assert decode_address(b"\x00\x05queue") == ("", "queue")


@pytest.mark.parametrize("address", [b"", b"\x00", b"\x01a", b"\x01a\x01", b"\x01a\x01bc", b"\x05a\x00", b"\xff\x00"])
def test_what_is_not_two_short_strings_is_refused(address: bytes) -> None:
    with pytest.raises(ValueError, match="two short strings"):
        decode_address(address)


def test_a_short_string_has_at_most_255_bytes() -> None:
    assert len(encode_address("a" * 255, "ä" * 127)) == 1 + 255 + 1 + 254
    with pytest.raises(ValueError, match="at most 255"):
        encode_address("x", "ä" * 128)
