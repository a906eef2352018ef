"""From connection.start to connection.open-ok (specification, section 2.2.4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from broker.access.sasl import MECHANISMS, MalformedResponseError
from broker.hooks import event_properties
from broker.logs import get_logger
from broker.session.server_properties import server_properties
from protocol.amqp import codec
from protocol.amqp.errors import (
    AMQPError,
    access_refused,
    channel_error,
    command_invalid,
    not_allowed,
    syntax_error,
)
from protocol.amqp.methods import (
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionSecure,
    ConnectionSecureOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    Method,
)

log = get_logger("connection")

FRAME_MIN_SIZE_BYTES = 4096
CHANNEL_MAX_MIN = 1
ACCESS_REFUSED = 403
LOCALES = b"en_US"


@lru_cache
def greeting(cluster_name: str) -> bytes:
    """Return the payload of connection.start, which is the same for all clients of a broker."""
    start = ConnectionStart(
        version_major=0,
        version_minor=9,
        server_properties=server_properties(cluster_name),
        mechanisms=" ".join(MECHANISMS).encode(),
        locales=LOCALES,
    )
    return codec.encode_method(start)


class Handshake:
    """The handshake of one connection: ``state`` says what is expected next, and the table below who handles it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.state = "starting"
        self.mechanism_name = ""

    def begin(self) -> None:
        """Greet the client."""
        self.connection.send_payload(0, greeting(self.connection.broker.cluster_name))

    def receive(self, method: Method) -> None:
        """Take the next step. Raises ``AMQPError`` for a method that does not come next."""
        handle = STEPS.get((self.state, type(method)))
        if handle is None:
            text = f"unexpected method in connection state {self.state}"
            raise channel_error(text, method.class_id, method.method_id)
        try:
            handle(self, method)
        except AMQPError as error:
            # A refused login is no method's fault.
            raise error if error.reply_code == ACCESS_REFUSED else error.of_method(method) from None

    def may_be_told(self, error: AMQPError) -> bool:
        """Return whether a client in this state hears why it is refused, or is just cut off.

        Like RabbitMQ, the broker explains nothing to a client that it does not know yet, unless it has said that it
        wants to hear of a failed login.
        """
        if self.state in ("tuning", "opening"):
            return True
        told = self.connection.capabilities.get("authentication_failure_close") is True
        return error.reply_code == ACCESS_REFUSED and told

    def _start_ok(self, method: ConnectionStartOk) -> None:
        connection = self.connection
        connection.client_properties = dict(method.client_properties)
        capabilities = method.client_properties.get("capabilities")
        connection.capabilities = dict(capabilities) if isinstance(capabilities, dict) else {}
        if method.mechanism not in MECHANISMS:
            raise command_invalid(f"unknown authentication mechanism '{method.mechanism}'")
        self.mechanism_name = method.mechanism
        self.state = "securing"
        self._authenticate(method.response)

    def _secure_ok(self, method: ConnectionSecureOk) -> None:
        self._authenticate(method.response)

    def _authenticate(self, response: bytes) -> None:
        connection = self.connection
        try:
            credentials = MECHANISMS[self.mechanism_name](response)
        except MalformedResponseError as error:
            raise syntax_error(str(error)) from None
        if credentials is None:
            connection.send_method(0, ConnectionSecure())
            return
        user, refusal = connection.broker.authenticate(credentials, connection.peer)
        connection.broker.events.tell(
            "user.authentication." + ("success" if user is not None else "failure"),
            event_properties.authentication,
            connection,
            credentials.username,
            self.mechanism_name,
            refusal,
        )
        if user is None:
            log.warning("login refused", connection=connection.name, reason=refusal)
            raise access_refused(
                f"Login was refused using authentication mechanism {self.mechanism_name}. "
                "For details see the broker logfile."
            )
        connection.user = user
        self.state = "tuning"
        configuration = connection.broker.configuration
        connection.send_method(
            0,
            ConnectionTune(
                channel_max=configuration.channel_max,
                frame_max=configuration.frame_max_bytes,
                heartbeat=configuration.heartbeat_s,
            ),
        )

    def _tune_ok(self, method: ConnectionTuneOk) -> None:
        connection = self.connection
        configuration = connection.broker.configuration
        _check_negotiated("frame_max", method.frame_max, FRAME_MIN_SIZE_BYTES, configuration.frame_max_bytes)
        _check_negotiated("channel_max", method.channel_max, CHANNEL_MAX_MIN, configuration.channel_max)
        connection.frame_max = method.frame_max
        connection.reader.frame_max = method.frame_max
        connection.channel_max = method.channel_max
        connection.heartbeat_s = method.heartbeat
        self.state = "opening"

    def _open(self, method: ConnectionOpen) -> None:
        connection = self.connection
        vhost = connection.broker.vhosts.get(method.virtual_host)
        if vhost is None:
            raise not_allowed(f"vhost {method.virtual_host} not found")
        if not connection.user.may_enter(vhost.name):
            raise not_allowed(f"access to vhost '{vhost.name}' refused for user '{connection.user.name}'")
        connection.opened(vhost)
        connection.send_method(0, ConnectionOpenOk())
        log.info(
            "connection opened",
            connection=connection.name,
            client=connection.client_name(),
            user=connection.user.name,
            vhost=vhost.name,
            tls=None if connection.tls is None else connection.tls.version,
            cipher=None if connection.tls is None else connection.tls.cipher,
        )


STEPS: dict[tuple[str, type[Method]], Callable[[Handshake, Any], None]] = {
    ("starting", ConnectionStartOk): Handshake._start_ok,
    ("securing", ConnectionSecureOk): Handshake._secure_ok,
    ("tuning", ConnectionTuneOk): Handshake._tune_ok,
    ("opening", ConnectionOpen): Handshake._open,
}
"""What may come in each state, and who takes it. Whatever else comes is an error."""


def _check_negotiated(name: str, value: int, minimum: int, maximum: int) -> None:
    """Refuse what the client chose where the server's offer does not allow it; 0 is no limit."""
    shown = f"{value} (no limit)" if value == 0 and name == "channel_max" else str(value)
    if value and value < minimum:
        text = f"negotiated {name} = {shown} is lower than the minimum allowed value ({minimum})"
        raise not_allowed(text, ConnectionTune.class_id, ConnectionTune.method_id)
    if maximum and (value == 0 or value > maximum):
        text = f"negotiated {name} = {shown} is higher than the maximum allowed value ({maximum})"
        raise not_allowed(text, ConnectionTune.class_id, ConnectionTune.method_id)
