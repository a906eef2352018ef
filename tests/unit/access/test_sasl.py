"""What clients say to log in."""

import pytest

from broker.access.sasl import MECHANISMS, MalformedResponseError
from protocol.amqp.field_table import encode_table


def test_plain() -> None:
    credentials = MECHANISMS["PLAIN"](b"\0guest\0pass word")
    assert (credentials.username, credentials.password) == ("guest", b"pass word")


def test_plain_keeps_octets_that_are_not_utf8() -> None:
    credentials = MECHANISMS["PLAIN"](b"\0g\xff\0\xfe")
    assert (credentials.username.encode("utf-8", "surrogateescape"), credentials.password) == (b"g\xff", b"\xfe")


def test_plain_with_an_empty_password_is_well_formed() -> None:
    assert MECHANISMS["PLAIN"](b"\0guest\0").password == b""


@pytest.mark.parametrize(
    "response",
    [b"", b"guest", b"guest\0guest", b"\0guest", b"admin\0guest\0s3cret", b"\0guest\0s3cret\0", b"\0guest\0s3\0cret"],
)
def test_malformed_plain_is_refused_without_repeating_it(response: bytes) -> None:
    with pytest.raises(MalformedResponseError) as raised:
        MECHANISMS["PLAIN"](response)
    assert "s3cret" not in str(raised.value)


def test_amqplain() -> None:
    credentials = MECHANISMS["AMQPLAIN"](encode_table({"LOGIN": "guest", "PASSWORD": "pass"}))
    assert (credentials.username, credentials.password) == ("guest", b"pass")


def test_amqplain_with_a_password_of_octets() -> None:
    assert MECHANISMS["AMQPLAIN"](encode_table({"LOGIN": "guest", "PASSWORD": b"\xff"})).password == b"\xff"


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"s3cret",
        b"\xff" * 100,
        encode_table({"LOGIN": "guest"}),
        encode_table({"PASSWORD": "s3cret"}),
        encode_table({"LOGIN": 1, "PASSWORD": "s3cret"}),
        encode_table({"LOGIN": "guest", "PASSWORD": ["s3cret"]}),
        encode_table({"LOGIN": "guest", "PASSWORD": "s3cret"})[:-1],
    ],
)
def test_malformed_amqplain_is_refused_without_repeating_it(response: bytes) -> None:
    with pytest.raises(MalformedResponseError) as raised:
        MECHANISMS["AMQPLAIN"](response)
    assert "s3cret" not in str(raised.value)


def test_credentials_do_not_show_the_password() -> None:
    credentials = MECHANISMS["PLAIN"](b"\0guest\0s3cret")
    assert "s3cret" not in f"{credentials!r} {credentials!s}"
