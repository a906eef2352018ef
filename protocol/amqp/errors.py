"""The two ways in which AMQP ends what went wrong: connection.close and channel.close."""

from __future__ import annotations

from typing import ClassVar, Self

from protocol.amqp.spec import HARD_REPLY_CODES, REPLY_CODES, MethodIds

# A reply text is a short string; RabbitMQ marks where it cut one.
REPLY_TEXT_SIZE_MAX = 255
ELLIPSIS = "..."


class AMQPError(Exception):
    """A violation of the protocol, or a refusal, as the peer is told of it.

    ``reply_text`` begins with the name of the reply code, as RabbitMQ's do. ``class_id`` and ``method_id`` name the
    method that caused it, 0 where there is none.
    """

    def __init__(self, reply_code: int, detail: str, class_id: int = 0, method_id: int = 0) -> None:
        text = _fit(f"{REPLY_CODES[reply_code]} - {detail}")
        super().__init__(text)
        self.reply_code = reply_code
        self.reply_text = text
        self.class_id = class_id
        self.method_id = method_id

    def of_method(self, method: MethodIds) -> Self:
        """Name the method that caused the error, unless one is named already."""
        if not self.class_id:
            self.class_id = method.class_id
            self.method_id = method.method_id
        return self


class ConnectionException(AMQPError):  # noqa: N818 - the specification's word
    """A hard error: it closes the connection (specification, section 1.2, "connection exception")."""


class ChannelException(AMQPError):  # noqa: N818 - the specification's word
    """A soft error: it closes the channel (specification, section 1.2, "channel exception")."""


class _Raiser:
    """Makes the exception of one reply code."""

    by_hardness: ClassVar[dict[bool, type[AMQPError]]] = {True: ConnectionException, False: ChannelException}

    def __init__(self, name: str) -> None:
        self.reply_code = next(code for code, known in REPLY_CODES.items() if known == name)
        self.exception = self.by_hardness[self.reply_code in HARD_REPLY_CODES]

    def __call__(self, detail: str, class_id: int = 0, method_id: int = 0) -> AMQPError:
        return self.exception(self.reply_code, detail, class_id, method_id)


def _fit(text: str) -> str:
    """Cut a text to the size of a short string, between two characters."""
    encoded = text.encode("utf-8", "surrogateescape")
    if len(encoded) <= REPLY_TEXT_SIZE_MAX:
        return text
    return encoded[: REPLY_TEXT_SIZE_MAX - len(ELLIPSIS)].decode("utf-8", "ignore") + ELLIPSIS


content_too_large = _Raiser("CONTENT_TOO_LARGE")
connection_forced = _Raiser("CONNECTION_FORCED")
access_refused = _Raiser("ACCESS_REFUSED")
not_found = _Raiser("NOT_FOUND")
resource_locked = _Raiser("RESOURCE_LOCKED")
precondition_failed = _Raiser("PRECONDITION_FAILED")
frame_error = _Raiser("FRAME_ERROR")
syntax_error = _Raiser("SYNTAX_ERROR")
command_invalid = _Raiser("COMMAND_INVALID")
channel_error = _Raiser("CHANNEL_ERROR")
unexpected_frame = _Raiser("UNEXPECTED_FRAME")
resource_error = _Raiser("RESOURCE_ERROR")
not_allowed = _Raiser("NOT_ALLOWED")
not_implemented = _Raiser("NOT_IMPLEMENTED")
internal_error = _Raiser("INTERNAL_ERROR")
