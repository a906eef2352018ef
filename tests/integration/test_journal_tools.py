"""``haypile journal``, and a broker on a damaged journal, as their users have them."""

import json
import os
import pty
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Basic

from storage.layout import HEADER_SIZE, SegmentHeader
from tests.support.broker_process import BrokerProcess
from tests.support.waiting import until

pytestmark = pytest.mark.haypile_only

PERSISTENT = Basic.Properties(delivery_mode=2)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker that has five messages in its queue, and was stopped."""
    process = BrokerProcess(tmp_path / "data")
    process.start()
    client = process.connect().open()
    channel = client.channel()
    channel.declare_queue("q", durable=True)
    for number in range(5):
        channel.publish(b"message %d" % number, "q", properties=PERSISTENT)
    until(lambda: channel.counts("q")[0] == 5)
    client.close()
    assert process.terminate() == 0
    yield process
    process.stop()


def tool(*words: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "broker", "journal", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, **{"stdin": subprocess.DEVNULL, **options}
    )


def journal_of(broker: BrokerProcess) -> Path:
    (journal,) = (broker.data_directory / "vhosts").iterdir()
    return journal


def segment_of(broker: BrokerProcess) -> Path:
    return min(journal_of(broker).glob("segment-*"))


def damage(file: Path, text: bytes) -> int:
    """Flip a bit in the first place where the text is."""
    data = bytearray(file.read_bytes())
    place = data.index(text)
    data[place] ^= 1
    file.write_bytes(data)
    return place


def lose_the_first_segment(broker: BrokerProcess) -> Path:
    """Make of segment 1 a segment 2, so that 1 is missing."""
    file = segment_of(broker)
    for other in journal_of(broker).glob("segment-*"):
        if other != file:
            other.unlink()
    header = SegmentHeader.decode(file.read_bytes()[:HEADER_SIZE])
    target = file.with_name("segment-0000000000000002")
    file.rename(target)
    with target.open("r+b") as segment:
        renumbered = SegmentHeader(header.file_id, 2, header.durable, header.epoch, header.created_us)
        segment.write(renumbered.encode())
    return target


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


# check


def test_check_of_a_sound_journal(broker: BrokerProcess) -> None:
    before = contents(journal_of(broker))
    for directory in (broker.data_directory, journal_of(broker)):
        ended = tool("check", directory)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert f"{journal_of(broker)}: 6 records up to 7 in 1 segments, checkpoint 0, cleanly stopped\n" in ended.stdout
        assert ended.stdout.endswith("  no damage\n")
    ended = tool("check", "--json", broker.data_directory)
    report = json.loads(ended.stdout)
    assert (report["records"], report["damages"], report["refused"], report["clean_stop"]) == (6, [], None, True)
    assert contents(journal_of(broker)) == before


def test_check_of_a_damaged_journal(broker: BrokerProcess) -> None:
    place = damage(segment_of(broker), b"message 3")
    ended = tool("check", broker.data_directory)
    assert ended.returncode == 1
    assert "  damaged: RECORD_DAMAGED segment-0000000000000001 at offset " in ended.stdout
    assert "record 5 lost\n" in ended.stdout
    assert "\n  1 damaged places, none of which keeps the broker from starting: a start puts aside\n" in ended.stdout
    assert ended.stdout.endswith("in segments that it reads, and those behind an index when their message is read\n")
    ended = tool("check", "--json", broker.data_directory)
    assert ended.returncode == 1
    (found,) = json.loads(ended.stdout)["damages"]
    assert found["offset"] < place < found["offset"] + found["size"]
    assert (found["sequence"], found["records"], found["kind"]) == (5, 1, "publish")


def test_where_there_is_nothing_to_look_at(broker: BrokerProcess, tmp_path: Path) -> None:
    ended = tool("check", tmp_path)
    assert (ended.returncode, ended.stderr) == (2, f"haypile: there is no journal in {tmp_path}\n")
    assert tool("check", tmp_path / "none").returncode == 2
    assert tool("check").returncode == 2
    assert tool("mend", tmp_path).returncode == 2
    broker.start()
    for words in (["check"], ["inspect"], ["repair", "--yes"]):
        for directory in (broker.data_directory, journal_of(broker)):
            ended = tool(*words, directory)
            assert ended.returncode == 2
            assert f"is in use by process {broker.pid}" in ended.stderr
    # A copy of a journal can be looked at all the same.
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / segment_of(broker).name).write_bytes(segment_of(broker).read_bytes())
    assert tool("inspect", copy).returncode == 0
    assert {path.name for path in copy.iterdir()} == {segment_of(broker).name}


# inspect


def test_inspect(broker: BrokerProcess) -> None:
    ended = tool("inspect", "--records", broker.data_directory)
    assert ended.returncode == 0
    assert "  segment-0000000000000001: records 1 to 7, " in ended.stdout
    assert ", epoch 1, created 20" in ended.stdout
    assert "    publish: 5 records, " in ended.stdout
    assert '"routing_key"' not in ended.stdout
    assert 'publish queues=[{"number": 1, "position": 5}] exchange="" routing_key="q"' in ended.stdout
    assert "body_size=9" in ended.stdout
    ended = tool("inspect", broker.data_directory)
    assert "routing_key" not in ended.stdout


def test_inspect_for_programs(broker: BrokerProcess) -> None:
    damage(segment_of(broker), b"message 3")
    ended = tool("inspect", "--json", "--records", broker.data_directory)
    assert ended.returncode == 1
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    records = [line for line in lines if "record" in line]
    assert [record["kind"] for record in records] == ["definition", *["publish"] * 5, "stopped"]
    assert records[0]["definition"][:3] == ["queue", "q", 1]
    assert [record.get("damaged", False) for record in records] == [False] * 4 + [True] + [False] * 2
    segment = next(line for line in lines if "segment" in line)
    assert segment["kinds"]["publish"]["records"] == 4
    assert segment["broken"] == [[records[4]["offset"], records[4]["size"]]]
    assert segment["problem"] is None


# repair


def test_repair_of_a_journal_that_needs_none(broker: BrokerProcess) -> None:
    damage(segment_of(broker), b"message 3")
    before = contents(broker.data_directory)
    ended = tool("repair", broker.data_directory)
    assert ended.returncode == 0
    assert ended.stdout.endswith(": nothing to repair; a start does by itself what there is to do\n")
    assert contents(journal_of(broker)).items() <= before.items()


def test_repair(broker: BrokerProcess) -> None:
    segment = lose_the_first_segment(broker)
    journal = journal_of(broker)
    original = segment.read_bytes()
    before = contents(journal)
    asked = tool("repair", journal)
    assert asked.returncode == 2
    assert "FRONT_MISSING segment-0000000000000001: " in asked.stdout
    assert asked.stderr == "haypile: standard input is no terminal to ask at: repeat it with --yes\n"
    assert tool("repair", "--dry-run", journal).returncode == 1
    assert contents(journal) == before
    ended = tool("repair", "--yes", journal)
    assert (ended.returncode, ended.stderr) == (0, "")
    copy = journal.with_name(f"{journal.name}.before-repair-1")
    assert f"repaired; the original is in {copy}\n" in ended.stdout
    assert (copy / segment.name).read_bytes() == original
    broker.start()
    assert broker.connect().open().channel().bodies("q") == [b"message %d" % number for number in range(5)]


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"\n", 1), (b"y\n", 0)])
def test_repair_asks(broker: BrokerProcess, answer: bytes, code: int) -> None:
    lose_the_first_segment(broker)
    before = contents(journal_of(broker))
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    ended = tool("repair", broker.data_directory, stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert ended.returncode == code, ended.stderr
    if code:
        assert ended.stdout.endswith("Go on? [y/N] nothing was done\n")
        assert contents(journal_of(broker)) == before


def test_a_progress_bar_on_a_terminal(broker: BrokerProcess) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "broker", "journal", "check", str(broker.data_directory)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, timeout=30, check=True)
    os.close(theirs)
    shown = os.read(ours, 10_000)
    os.close(ours)
    assert b"#] 100 %" in shown
    assert shown.endswith(b"\r\x1b[K")


# The broker


def health(broker: BrokerProcess) -> str:
    with urllib.request.urlopen("http://{}:{}/health".format(*broker.metrics_address), timeout=10) as answer:
        assert answer.status == 200
        text: str = answer.read().decode()
        return text


def test_a_broker_on_a_damaged_journal(broker: BrokerProcess) -> None:
    file = segment_of(broker)
    damage(file, b"message 3")
    with file.open("r+b") as segment:
        segment.write(b"\xff" * HEADER_SIZE)
    broker.log.clear()
    broker.start()
    logged = [json.loads(line) for line in broker.log if "journal damaged" in line]
    assert [(entry["level"], entry["vhost"], entry["file"], entry["case"]) for entry in logged] == [
        ("error", "/", str(file), "HEADER_MAGIC"),
        ("error", "/", str(file), "RECORD_DAMAGED"),
    ]
    assert (logged[1]["sequence"], logged[1]["records_lost"]) == (5, 1)
    assert health(broker) == "ready; journal of vhost '/': 2 damaged places found at the start\n"
    with urllib.request.urlopen("http://{}:{}/metrics".format(*broker.metrics_address), timeout=10) as answer:
        metrics = answer.read().decode()
    assert 'haypile_journal_damaged_places_total{vhost="/"} 2.0\n' in metrics
    assert 'haypile_journal_lost_records_total{vhost="/"} 1.0\n' in metrics
    channel = broker.connect().open().channel()
    assert channel.bodies("q") == [b"message 0", b"message 1", b"message 2", b"message 4"]
    assert broker.terminate() == 0


def test_the_scrubber_of_a_broker(broker: BrokerProcess) -> None:
    broker.settings = {"journal-scrub-interval-s": "1"}
    broker.start()
    file = segment_of(broker)
    damage(file, b"message 3")
    until(lambda: "found by the scrubber" in health(broker), 30)
    until(lambda: any("scrubber found damage" in line for line in broker.log))
    (entry,) = [json.loads(line) for line in broker.log if "scrubber found damage" in line]
    assert (entry["file"], entry["case"]) == (str(file), "RECORD_DAMAGED")
    # It has touched nothing; the damage costs the message when that is read.
    assert broker.connect().open().channel().bodies("q") == [b"message %d" % number for number in (0, 1, 2, 4)]
