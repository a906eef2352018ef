"""Methods: generated from the table, there and back, and the same octets as pamqp's."""

import struct
import subprocess
import sys

import pamqp.commands
import pytest

from protocol.amqp import spec
from protocol.amqp.codec import decode_method, encode_method
from protocol.amqp.errors import ConnectionException
from protocol.amqp.methods import METHODS, Method

VALUES = {
    "bit": True,
    "octet": 7,
    "short": 513,
    "long": 70_000,
    "longlong": 1 << 40,
    "shortstr": "name",
    "longstr": b"\x00long",
    "table": {"a": "b", "c": {"d": "e"}},
}


def example(row: spec.MethodSpec) -> Method:
    arguments = {name: VALUES[kind] for name, kind in row.arguments if not name.startswith("reserved")}
    return METHODS[row.name](**arguments)


by_name = pytest.mark.parametrize("row", spec.METHODS, ids=lambda row: row.name)


@by_name
def test_a_method_comes_back(row: spec.MethodSpec) -> None:
    assert decode_method(encode_method(example(row))) == example(row)


@by_name
def test_a_method_cut_short_or_too_long_is_refused(row: spec.MethodSpec) -> None:
    payload = encode_method(example(row))
    for cut in range(4, len(payload)):
        with pytest.raises(ConnectionException):
            decode_method(payload[:cut])
    with pytest.raises(ConnectionException, match="cannot decode"):
        decode_method(payload + b"\x00")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@by_name
def test_pamqp_writes_the_same_octets(row: spec.MethodSpec) -> None:
    index = (row.class_id << 16) | row.method_id
    command = pamqp.commands.INDEX_MAPPING.get(index)
    if command is None:
        pytest.skip("pamqp does not know it")
    try:
        known = command()
        known.unmarshal(encode_method(example(row))[4:])
        octets = known.marshal()
    except ValueError as error:
        pytest.skip(f"pamqp refuses the example: {error}")
    assert struct.pack(">HH", row.class_id, row.method_id) + octets == encode_method(example(row))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ConnectionException, match="COMMAND_INVALID"):
        decode_method(b"\x00\x3c\x03\xe7")


@pytest.mark.parametrize(("payload", "shown"), [(b"", "<<>>"), (b"\x00\x0a\x00", "<<0,10,0>>")])
def test_a_payload_too_short_to_name_a_method_is_refused(payload: bytes, shown: str) -> None:
    with pytest.raises(ConnectionException) as refused:
        decode_method(payload)
    assert refused.value.reply_text == f"FRAME_ERROR - type 1, all octets = {shown}: unknown_frame"


def test_the_generated_module_is_up_to_date() -> None:
    assert subprocess.run([sys.executable, "tools/generate_methods.py", "--check"], check=False).returncode == 0
