"""Most content headers, judged where they stand: what ``publish_checks`` would accept after decoding them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.string cimport memcmp

from broker.policy.values import EXPIRY_MAX_MS
from broker.session.direct_reply import PSEUDO_QUEUE

from protocol.amqp.content_header cimport HeaderLayout, walk
from protocol.amqp.header_fields cimport TRAIT_HIDDEN_, TRAIT_ROUTED_, put_reply_to, traits_within

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(str text)

cdef long long EXPIRATION_MAX_MS = EXPIRY_MAX_MS
cdef bytes PSEUDO = PSEUDO_QUEUE.encode()

cdef enum:
    # So many digits are a number that neither overflows nor has more zeros in front than anybody writes.
    DIGITS_MAX = 18


cdef inline bint is_text(const unsigned char *at, const char *text, Py_ssize_t size) noexcept:
    """Return whether a short string has these octets."""
    return at[0] == size and memcmp(at + 1, text, size) == 0


cdef bint is_plain_expiration(const unsigned char *at) noexcept:
    """Return whether a short string is a number of milliseconds without a sign, and none that is too large."""
    cdef Py_ssize_t size = at[0]
    cdef Py_ssize_t index
    cdef long long value = 0
    if size == 0 or size > DIGITS_MAX:
        return False
    for index in range(1, size + 1):
        if at[index] < 48 or at[index] > 57:         # the digits of ASCII
            return False
        value = 10 * value + (at[index] - 48)
    return value <= EXPIRATION_MAX_MS


cdef bint is_own_name(const unsigned char *at, str name) except -1:
    """Return whether a short string is the name of a user. Names beyond ASCII are left to those who decode them."""
    cdef Py_ssize_t size
    cdef const char *octets
    if not PyUnicode_IS_ASCII(name):
        return False
    octets = PyUnicode_AsUTF8AndSize(name, &size)
    return is_text(at, octets, size)


cdef bytes accept_plain(object channel, bytes header, bytes reply_name, int *mode, unsigned int *traits):
    """Return the header that a message is to have, None if ``accept_properties`` has to judge.

    ``mode`` becomes the delivery mode, below 0 when the header is malformed. ``reply_name`` is what takes the place of
    the pseudo-queue in reply-to, None where nobody consumes that.
    """
    cdef const unsigned char *start = <const unsigned char *>PyBytes_AS_STRING(header)
    cdef HeaderLayout found
    mode[0] = walk(header, &found)
    if mode[0] < 0:
        return None
    if found.expiration and not is_plain_expiration(start + found.expiration):
        return None
    if found.user_id and not is_own_name(start + found.user_id, channel.connection.user.name):
        return None
    traits[0] = traits_within(start, &found)
    if traits[0] & (TRAIT_HIDDEN_ | TRAIT_ROUTED_):
        return None
    if found.reply_to and is_text(start + found.reply_to, PyBytes_AS_STRING(PSEUDO), PyBytes_GET_SIZE(PSEUDO)):
        return None if reply_name is None else put_reply_to(header, found.reply_to, reply_name)
    return header


def judge(channel, bytes header not None, bytes reply_name):
    cdef int mode
    cdef unsigned int traits = 0
    cdef bytes accepted = accept_plain(channel, header, reply_name, &mode, &traits)
    return mode, accepted, traits
