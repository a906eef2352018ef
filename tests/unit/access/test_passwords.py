"""Password hashes in RabbitMQ's format."""

import base64

import pytest

from broker.access.passwords import HASH_OF_NOBODY, check_password_hash, hash_password, verify_password

# As RabbitMQ's documentation works it out by hand: salt 90 8D C6 0A, password test12.
HASH_OF_RABBITMQ = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


def test_a_hash_made_by_rabbitmq_is_understood() -> None:
    assert verify_password(b"test12", HASH_OF_RABBITMQ)
    assert not verify_password(b"test13", HASH_OF_RABBITMQ)


def test_a_password_matches_its_hash_and_no_other_does() -> None:
    hashed = hash_password("Пароль".encode())
    assert verify_password("Пароль".encode(), hashed)
    assert not verify_password(b"", hashed)
    assert not verify_password("Пароль ".encode(), hashed)


def test_each_hash_has_a_salt_of_its_own() -> None:
    assert hash_password(b"same") != hash_password(b"same")


def test_an_empty_password_never_matches() -> None:
    assert not verify_password(b"", hash_password(b""))


def test_nobody_has_a_password() -> None:
    assert not verify_password(b"guest", HASH_OF_NOBODY)


@pytest.mark.parametrize(
    "wrong", ["s3cret", "s3cret==", "czNjcmV0", base64.b64encode(bytes(35)).decode(), "söcret", ""]
)
def test_what_is_no_hash_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ValueError, match="the password hash") as raised:
        check_password_hash(wrong)
    assert not wrong or wrong not in str(raised.value)
