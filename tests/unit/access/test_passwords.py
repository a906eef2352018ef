"""Password hashes in RabbitMQ's format."""

import base64

import pytest

from broker.access.passwords import HASH_OF_NOBODY, PasswordHash, hash_password

# As RabbitMQ's documentation works it out by hand: salt 90 8D C6 0A, password test12.
HASH_OF_RABBITMQ = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


def test_a_hash_made_by_rabbitmq_is_understood() -> None:
    assert PasswordHash(HASH_OF_RABBITMQ).is_of(b"test12")
    assert not PasswordHash(HASH_OF_RABBITMQ).is_of(b"test13")


def test_a_password_matches_its_hash_and_no_other_does() -> None:
    hashed = hash_password("Пароль".encode())
    assert PasswordHash(hashed).is_of("Пароль".encode())
    assert not PasswordHash(hashed).is_of(b"")
    assert not PasswordHash(hashed).is_of("Пароль ".encode())


def test_each_hash_has_a_salt_of_its_own() -> None:
    assert hash_password(b"same") != hash_password(b"same")


def test_an_empty_password_never_matches() -> None:
    assert not PasswordHash(hash_password(b"")).is_of(b"")


def test_nobody_has_a_password() -> None:
    assert not PasswordHash(HASH_OF_NOBODY).is_of(b"guest")


@pytest.mark.parametrize(
    "wrong", ["s3cret", "s3cret==", "czNjcmV0", base64.b64encode(bytes(35)).decode(), "söcret", ""]
)
def test_what_is_no_hash_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ValueError, match="the password hash") as raised:
        PasswordHash(wrong)
    assert not wrong or wrong not in str(raised.value)
