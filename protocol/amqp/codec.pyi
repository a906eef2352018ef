from protocol.amqp.methods import Method

def decode_method(payload: bytes) -> Method:
    """Return the method that a method frame carries.

    Raises ``ConnectionException``: COMMAND_INVALID for a method that does not exist, FRAME_ERROR where the payload
    names no method, or its arguments do not fill it exactly, or are malformed.
    """

def encode_method(method: Method) -> bytes:
    """Return the payload of the method frame that carries ``method``.

    Raises ``ValueError`` where an argument does not fit its type.
    """
