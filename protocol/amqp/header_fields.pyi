"""Reading and changing single properties and header fields of a content header, without decoding the rest.

All functions take a content header payload that ``content_header.delivery_mode`` has accepted. A *raw value* is the
octets of a field value in a table: its type, and what follows.
"""

TRAIT_EXPIRES: int
TRAIT_HIDDEN: int
TRAIT_ROUTED: int
HIDDEN_PREFIX: bytes
BCC: bytes
CC: bytes

def find_traits(header: bytes) -> int:
    """Return which of the traits a message with this header has."""

def priority_of(header: bytes) -> int:
    """Return the priority property, -1 when there is none."""

def expiration_of(header: bytes) -> int:
    """Return the expiration property in milliseconds, -1 when there is none or it is no number."""

def message_id_of(header: bytes) -> bytes | None:
    """Return the octets of the message-id property, None when there is none."""

def reply_to_of(header: bytes) -> bytes | None:
    """Return the octets of the reply-to property, None when there is none."""

def find_field(header: bytes, name: bytes) -> bytes | None:
    """Return the raw value of a header field, None when there is no such field. The first of several counts."""

def split_fields(header: bytes) -> dict[bytes, bytes]:
    """Return all header fields with their raw values. The first of several with the same name counts."""

def replace_fields(
    header: bytes, fields: dict[bytes, bytes], keep_expiration: bool = True, keep_empty: bool = False
) -> bytes:
    """Return the header with these header fields in place of all that it has.

    Without any field left there is no table either, unless ``keep_empty``.
    """

def replace_reply_to(header: bytes, reply_to: bytes) -> bytes:
    """Return a header that has a reply-to with another one."""

def visible(header: bytes) -> bytes:
    """Return the header without the fields that no client may see: BCC, and those of the broker's own."""
