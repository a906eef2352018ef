def delivery_mode(header: bytes) -> int:
    """Return the delivery mode that a content header payload gives, 0 when it gives none.

    Walks over all properties, so it answers -1 when their sizes do not add up (specification, section 4.2.6.1);
    the headers table has to be well-formed too, and within the limits of ``field_table``.
    """

FLAGS_CHECKED: int
FLAGS_VALIDATED: int
FLAGS_LOOKED_INTO: int

def property_flags(header: bytes) -> int:
    """Return the property flags."""

def body_size(header: bytes) -> int:
    """Return the announced size of the body in octets."""

def class_id(header: bytes) -> int: ...
def weight(header: bytes) -> int: ...
