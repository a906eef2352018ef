"""The shortcut to routes: it may forget, but what it says is what was put in last."""

import random

from hypothesis import given
from hypothesis import strategies as st

from broker.routing.address_table import AddressTable

CAPACITY_MAX = 65_536
ADDRESSES = [
    b"",
    b"\0\0",
    b"\x01x\0",
    b"\x01x\x01a",
    b"\x08exchange\x07rk.0001",
    b"\x08exchange\x07rk.0002",
    b"a" * 512,
]


def test_an_address_is_found_by_all_of_its_octets() -> None:
    table = AddressTable()
    addresses = [b"x" * size + bytes([last]) for size in range(40) for last in range(4)]
    for address in addresses:
        assert table.get(address) is None
        table.put(address, address.decode())
    assert len(table) == len(addresses)
    for address in addresses:
        assert table.get(bytes(bytearray(address))) == address.decode()
        assert table.get(address + b"\0") is None


@given(st.lists(st.tuples(st.sampled_from(["put", "remove", "clear"]), st.sampled_from(ADDRESSES), st.integers())))
def test_it_is_a_dictionary_as_long_as_there_is_room(steps: list[tuple[str, bytes, int]]) -> None:
    table, model = AddressTable(), dict[bytes, int]()
    for step, address, value in steps:
        if step == "put":
            table.put(address, value)
            model[address] = value
        elif step == "remove":
            table.remove(address)
            model.pop(address, None)
        else:
            table.clear()
            model.clear()
        assert len(table) == len(model)
        assert {address: table.get(address) for address in model} == model
        assert all(table.get(address) is None for address in ADDRESSES if address not in model)


def test_there_is_an_end_to_its_room() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    source = random.Random(seed)
    table, model = AddressTable(), dict[bytes, int]()
    for value in range(3 * CAPACITY_MAX):
        address = source.randbytes(source.choice((3, 9, 30)))
        table.put(address, value)
        model[address] = value
        if source.random() < 0.2:
            gone = source.choice((address, source.randbytes(3)))
            table.remove(gone)
            model.pop(gone, None)
        assert len(table) <= CAPACITY_MAX
    found = [address for address, value in model.items() if table.get(address) is not None]
    assert all(table.get(address) == model[address] for address in found)
    assert len(found) == len(table) > CAPACITY_MAX // 2
    table.clear()
    assert (len(table), [address for address in model if table.get(address) is not None]) == (0, [])


def test_half_of_its_room_is_used_before_anything_is_forgotten() -> None:
    table = AddressTable()
    addresses = [f"\x08exchange{number:07}".encode() for number in range(CAPACITY_MAX // 2)]
    for address in addresses:
        table.put(address, address)
    assert sum(table.get(address) is not None for address in addresses) > 0.99 * len(addresses)
