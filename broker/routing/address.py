"""The address of a message: exchange name and routing key as ``basic.publish`` carries them, in one ``bytes``."""

SHORT_STRING_SIZE_MAX = 255


def encode_address(exchange: str, routing_key: str) -> bytes:
    """Return the wire form: two short strings (AMQP 0-9-1, section 4.2.5.3), one after the other.

    Raises ``ValueError`` if one of them takes more than 255 bytes.
    """
    return _encode_short_string(exchange) + _encode_short_string(routing_key)


def decode_address(address: bytes) -> tuple[str, str]:
    """Return exchange name and routing key.

    Bytes that are no UTF-8 come out as surrogates, so that every address survives the way there and back.

    Raises ``ValueError`` if ``address`` is not exactly two short strings.
    """
    exchange_end = 1 + address[0] if address else 0
    if not 0 < exchange_end < len(address) or exchange_end + 1 + address[exchange_end] != len(address):
        raise ValueError(f"an address is two short strings, not {address!r}")
    exchange = address[1:exchange_end].decode("utf-8", "surrogateescape")
    return exchange, address[exchange_end + 1 :].decode("utf-8", "surrogateescape")


def _encode_short_string(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogateescape")
    if len(encoded) > SHORT_STRING_SIZE_MAX:
        raise ValueError(f"a short string has at most {SHORT_STRING_SIZE_MAX} bytes, not {len(encoded)}")
    return bytes((len(encoded),)) + encoded
