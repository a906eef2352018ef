"""What an extension of the group ``haypile.interceptors`` is made of. ``docs/extending.md`` shows one."""

from __future__ import annotations

from protocol.amqp.properties import BasicProperties, decode_properties, encode_properties

ACCESS_REFUSED = 403
PRECONDITION_FAILED = 406

_SIZE_AT = 4
_SIZE_END = 12


class Refused(Exception):  # noqa: N818 - what it says, not what went wrong
    """Raised to refuse a publish: the channel is closed with this text, and 406 or 403 as the reply code."""

    def __init__(self, text: str, reply_code: int = PRECONDITION_FAILED) -> None:
        if reply_code not in (ACCESS_REFUSED, PRECONDITION_FAILED):
            raise ValueError(f"a publish is refused with {PRECONDITION_FAILED} or {ACCESS_REFUSED}, not {reply_code}")
        super().__init__(text)
        self.reply_code = reply_code


class Intercepted:
    """A message on its way in or out: whose it is, and what of it can be changed, which is properties and body."""

    __slots__ = (
        "_decoded",
        "_header",
        "_original_body",
        "body",
        "channel_number",
        "connection_name",
        "exchange",
        "routing_key",
        "user",
        "vhost",
    )

    def __init__(
        self,
        header: bytes,
        body: bytes,
        *,
        exchange: str,
        routing_key: str,
        vhost: str,
        user: str,
        connection_name: str,
        channel_number: int,
    ) -> None:
        self._header = header
        self._original_body = body
        self._decoded: BasicProperties | None = None
        self.body = body
        self.exchange = exchange
        self.routing_key = routing_key
        self.vhost = vhost
        self.user = user
        self.connection_name = connection_name
        self.channel_number = channel_number

    @property
    def properties(self) -> BasicProperties:
        """The properties, decoded when first asked for. They can be changed, and replaced."""
        if self._decoded is None:
            self._decoded = decode_properties(self._header)
        return self._decoded

    @properties.setter
    def properties(self, properties: BasicProperties) -> None:
        self._decoded = properties

    def header(self) -> bytes:
        """Return the content header as it is now; one that was not changed keeps its octets.

        Raises ``TypeError`` for a body that is none, and what ``encode_properties`` raises.
        """
        if not isinstance(self.body, bytes):
            raise TypeError(f"a body is bytes, not {type(self.body).__name__}")
        if self._decoded is not None and self._decoded != decode_properties(self._header):
            return encode_properties(self._decoded, len(self.body))
        if len(self.body) != len(self._original_body):
            return self._header[:_SIZE_AT] + len(self.body).to_bytes(8, "big") + self._header[_SIZE_END:]
        return self._header


class Publication(Intercepted):
    """A message that a client publishes. ``exchange`` and ``routing_key`` may be changed as well.

    ``user`` and the others say who publishes it; ``mandatory`` is the flag of basic.publish.
    """

    __slots__ = ("mandatory",)

    mandatory: bool


class Delivery(Intercepted):
    """A message that is about to be sent to a client, from a queue.

    Changes are for this client and this time only: the queue keeps what was published. ``exchange`` and
    ``routing_key`` are what it was published with; changing them has no effect. ``consumer_tag`` is None where the
    client has fetched it with basic.get.
    """

    __slots__ = ("consumer_tag", "queue", "redelivered")

    queue: str
    consumer_tag: str | None
    redelivered: bool


class Interceptor:
    """Sees messages on their way in and out. A subclass overrides what it is interested in.

    One object is made when the broker starts, without arguments, for all virtual hosts.
    """

    def before_publish(self, publication: Publication) -> Publication | None:
        """Return what is to be published, or None to drop it: the publisher is told that all went well.

        Raises ``Refused`` to close the publisher's channel.
        """
        return publication

    def before_delivery(self, delivery: Delivery) -> None:
        """Change what a client gets to see of a message."""
