"""Values in reply texts, as an Erlang that was started like RabbitMQ (``+pc unicode``) printed them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.amqp.erlang_term import format_binary, format_float, format_string, format_term, format_text
from protocol.amqp.field_table import ByteString, Float, decode_table


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-1.5, "-1.5"),
        (100.0, "100.0"),
        (1000.0, "1.0e3"),
        (1200.0, "1.2e3"),
        (12345.0, "12345.0"),
        (0.0001, "0.0001"),
        (0.00001, "1.0e-5"),
        (0.00123, "0.00123"),
        (0.00012345, "1.2345e-4"),
        (1e22, "1.0e22"),
        (1.2345678901234568e16, "1.2345678901234568e16"),
        (9007199254740990.0, "9007199254740990.0"),
        (9007199254740992.0, "9.007199254740992e15"),
        (5e-324, "5.0e-324"),
        (1.7976931348623157e308, "1.7976931348623157e308"),
        (Float(struct.unpack(">f", struct.pack(">f", 0.1))[0]), "0.10000000149011612"),
    ],
)
def test_a_float_is_shown(value: float, shown: str) -> None:
    assert format_float(value) == format_term(value) == shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_shown_of_a_float_means_it(value: float) -> None:
    shown = format_float(value)
    assert float(shown) == value
    assert shown[shown.index(".") + 1].isdigit()


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b"", "<<>>"),
        (b"text", '<<"text">>'),
        (b'a\nb\t\\"x', r'<<"a\nb\t\\\"x">>'),
        (b"\x1b\x08\x0b\x0c\r", r'<<"\e\b\v\f\r">>'),
        (b"\x00\x01", "<<0,1>>"),
        (b"a\x07", "<<97,7>>"),
        (b"a\x7f", "<<97,127>>"),
        ("é\n".encode(), r'<<"é\n"/utf8>>'),
        ("\u2028\ue000\U0010ffff".encode(), '<<"\u2028\ue000\U0010ffff"/utf8>>'),
        ("\ufffe".encode(), "<<239,191,190>>"),
        ("\x85".encode(), "<<194,133>>"),
        (b"caf\xe9", '<<"café">>'),
        (b"\xe9\x80", "<<233,128>>"),
    ],
)
def test_a_binary_is_shown(octets: bytes, shown: str) -> None:
    assert format_binary(octets) == format_term(octets) == format_term(ByteString(octets)) == shown


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b" x", '" x"'),
        (b'\n"', r'"\n\""'),
        (b"\x00a", "[0,97]"),
        ("é".encode(), '"\xc3\xa9"'),
        ("λ\u2028".encode(), "[206,187,226,128,168]"),
    ],
)
def test_a_list_of_octets_is_shown(octets: bytes, shown: str) -> None:
    assert format_string(octets) == shown


def test_text_is_utf8_or_else_latin1() -> None:
    assert format_text("λ".encode()) == "λ"
    assert format_text(b"caf\xe9 \xc3\xa9") == "café \xc3\xa9"


def test_tables_and_arrays_are_shown_with_types() -> None:
    octets = b"\x01aA\x00\x00\x00\x09" + b"d" + struct.pack(">d", 1e22) + b"\x01bV" + b"\x01cD\x02\x00\x00\x00\x05"
    shown = '[{<<"a">>,array,[{double,1.0e22}]},{<<"b">>,void,undefined},{<<"c">>,decimal,{2,5}}]'
    assert format_term(decode_table(octets)) == shown
