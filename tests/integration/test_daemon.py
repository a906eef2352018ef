"""The daemon as its users run it: what it says, what it leaves with, and what it listens on."""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pamqp.commands import Connection, Queue

from storage.checksum import crc32c
from storage.layout import FORMAT_VERSION, HEADER_SIZE, SEGMENT_MAGIC, SegmentHeader
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import Address, RawClient

pytestmark = pytest.mark.haypile_only

HAYPILE = [sys.executable, "-m", "broker"]
TIMEOUT_S = 20
SECRET = "s3cret-of-the-test"


def environment(**variables: str) -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("HAYPILE_")} | variables


def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that ends by itself."""
    return subprocess.run(
        [*HAYPILE, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, env=environment(**variables)
    )


def refuses_to_start(code: int, reason: str, *arguments: str, **variables: str) -> None:
    ended = run(*arguments, **variables)
    assert ended.returncode == code, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert re.fullmatch(f"haypile: {reason}", last), last
    assert "Traceback" not in ended.stderr


def on_free_ports(directory: Path) -> list[str]:
    return ["--listeners", "127.0.0.1:0", "--metrics-listener", "127.0.0.1:0", "--data-dir", str(directory)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker of the test's own; it is not started yet."""
    process = BrokerProcess(tmp_path / "data")
    yield process
    process.stop()


def get(address: Address, target: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen("http://{}:{}{}".format(*address, target), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def entries(broker: BrokerProcess, event: str) -> list[dict[str, Any]]:
    return [entry for entry in map(json.loads, broker.log) if entry["event"] == event]


# What it says of itself


def test_version() -> None:
    assert re.fullmatch(r"haypile \d+\.\d+\.\d+\n", run("--version").stdout)


def test_help_names_every_flag() -> None:
    text = run("--help").stdout
    assert "--heartbeat-s" in text
    assert "--journal-segment-size-bytes" in text
    assert "--users" not in text


def test_the_resulting_configuration_without_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "haypile.toml"
    file.write_text(f"heartbeat_s = 7\nchannel_max = 7\n[[users]]\nname = 'app'\npassword = '{SECRET}'\n")
    arguments = ["--print-config", "--heartbeat-s", "9"]
    for ended in (
        run("--config", str(file), *arguments, HAYPILE_CHANNEL_MAX="8"),
        run(*arguments, HAYPILE_CHANNEL_MAX="8", HAYPILE_CONFIG=str(file)),
    ):
        assert ended.returncode == 0
        assert "heartbeat_s = 9\n" in ended.stdout
        assert "channel_max = 8\n" in ended.stdout
        assert SECRET not in ended.stdout


# What it leaves with when it cannot start


def test_a_bad_configuration(tmp_path: Path) -> None:
    refuses_to_start(
        2, 'bad configuration: heartbeat_s = "x" .from flag --heartbeat-s.; allowed .*', "--heartbeat-s", "x"
    )
    refuses_to_start(2, "bad configuration: HAYPILE_HERTBEAT_S: unknown variable; .*", HAYPILE_HERTBEAT_S="1")
    refuses_to_start(2, "bad configuration: cannot read the file .*", "--config", str(tmp_path / "none"))
    users = json.dumps([{"name": "app", "password": SECRET, "tag": "x"}])
    ended = run(HAYPILE_USERS=users)
    assert ended.returncode == 2
    assert SECRET not in ended.stderr


def test_an_unknown_flag() -> None:
    assert run("--hartbeat-s", "1").returncode == 2


@pytest.mark.parametrize("flag", ["--listeners", "--metrics-listener"])
def test_a_port_in_use(tmp_path: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        reason = f"port in use: another process listens on {address}"
        refuses_to_start(3, reason, *on_free_ports(tmp_path / "data"), flag, address)


def test_a_data_directory_in_use(broker: BrokerProcess) -> None:
    broker.start()
    reason = f"the data directory {broker.data_directory} is in use by process {broker.pid}"
    refuses_to_start(4, reason, *broker.command()[len(HAYPILE) :])
    assert broker.terminate() == 0
    broker.start()


def segment_of(broker: BrokerProcess) -> Path:
    return min(broker.data_directory.glob("vhosts/*/segment-*"))


def test_a_journal_of_which_a_file_is_missing(broker: BrokerProcess) -> None:
    broker.start()
    broker.terminate()
    file = segment_of(broker)
    missing = file.with_name("segment-0000000000000001")
    file.rename(missing.with_name("segment-0000000000000002"))
    found = file.with_name("segment-0000000000000002")
    header = SegmentHeader.decode(found.read_bytes()[:HEADER_SIZE])
    with found.open("r+b") as segment:
        segment.write(replace(header, number=2).encode())
    reason = f"{missing} is damaged at offset 0: .*; bring the right file back, or run 'haypile journal repair', .*"
    refuses_to_start(5, reason, *on_free_ports(broker.data_directory))


def test_a_journal_of_a_newer_version(broker: BrokerProcess) -> None:
    broker.start()
    broker.terminate()
    file = segment_of(broker)
    with file.open("r+b") as segment:
        fields = bytearray(segment.read(HEADER_SIZE - 4))
        struct.pack_into("<I", fields, len(SEGMENT_MAGIC), FORMAT_VERSION + 1)
        segment.seek(0)
        segment.write(fields + struct.pack("<I", crc32c(fields)))
    reason = (
        f"{file} has format version {FORMAT_VERSION + 1}, this program knows versions up to {FORMAT_VERSION}: "
        "start the version that wrote it, or a later one .*"
    )
    refuses_to_start(6, reason, *on_free_ports(broker.data_directory))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    refuses_to_start(1, "cannot start: .*Permission denied.*", *on_free_ports(tmp_path / "data"))


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    refuses_to_start(1, "cannot start: .*File exists.*", *on_free_ports(tmp_path / "data"))


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    arguments = [*on_free_ports(tmp_path / "data"), "--listeners", "192.0.2.1:5672"]
    refuses_to_start(1, r"cannot start: .*cannot listen on 192\.0\.2\.1:5672: .*", *arguments)


# How it starts and stops


def test_it_starts_again_and_again_on_the_same_directory(broker: BrokerProcess) -> None:
    for _ in range(4):
        broker.start()
        broker.connect().open().close()
        assert broker.terminate() == 0
    for _ in range(3):
        broker.start()
        broker.kill()
    broker.start()


def test_ipv4_and_ipv6_on_several_addresses(broker: BrokerProcess) -> None:
    broker.settings = {"listeners": "127.0.0.1:0,[::1]:0,127.0.0.2:0"}
    broker.start()
    (ready,) = entries(broker, "ready")
    assert [address.rpartition(":")[0] for address in ready["listeners"]] == ["127.0.0.1", "[::1]", "127.0.0.2"]
    for address in ready["listeners"]:
        host, _, port = address.rpartition(":")
        with RawClient((host.strip("[]"), int(port))).open():
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(broker: BrokerProcess, number: signal.Signals) -> None:
    broker.start()
    broker.send_signal(number)
    assert broker.wait() == 0
    assert [entry["signal"] for entry in entries(broker, "stopping")] == [number.name]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(broker.address)


def test_clients_that_do_not_answer_the_goodbye_are_cut(broker: BrokerProcess) -> None:
    broker.settings = {"shutdown-timeout-ms": "100"}
    broker.start()
    with broker.connect().open() as client:
        assert broker.terminate() == 0
        client.expect_gone(320)


# What it tells


def test_health_and_metrics(broker: BrokerProcess) -> None:
    broker.start()
    assert get(broker.metrics_address, "/health") == (200, "ready\n")
    with broker.connect().open() as client:
        client.channel(1).declare_queue("work", exclusive=True)
        status, text = get(broker.metrics_address, "/metrics")
    assert status == 200
    for line in ("rabbitmq_connections 1.0", "rabbitmq_channels 1.0", "rabbitmq_queues 1.0"):
        assert f"\n{line}\n" in text
    assert '\nrabbitmq_auth_attempts_succeeded_total{protocol="amqp091"} 1.0\n' in text


def test_health_while_clients_say_goodbye(broker: BrokerProcess) -> None:
    broker.start()
    with broker.connect().open():
        broker.send_signal(signal.SIGTERM)
        while (answer := get(broker.metrics_address, "/health")) == (200, "ready\n"):
            pass
        assert answer == (503, "stopping\n")
        broker.send_signal(signal.SIGTERM)
        assert broker.wait() == 128 + signal.SIGTERM


def test_a_line_for_each_connection_and_no_password(broker: BrokerProcess) -> None:
    broker.settings = {"log-level": "debug"}
    broker.start()
    with broker.connect() as client:
        client.start()
        client.log_in("guest", SECRET, {"authentication_failure_close": True})
        client.expect_gone(403)
    with broker.connect() as client:
        client.start()
        client.log_in(SECRET + "\0", SECRET)
        client.expect_gone()
    broker.connect().open().close()
    assert broker.terminate() == 0
    (refused,) = entries(broker, "login refused")
    assert refused["reason"] == "user 'guest' - invalid credentials"
    (opened,) = entries(broker, "connection opened")
    assert (opened["user"], opened["vhost"]) == ("guest", "/")
    assert opened["connection"] in {entry["connection"] for entry in entries(broker, "connection closed")}
    assert SECRET not in broker.log_text


def test_users_permissions_and_vhosts_are_those_of_the_file(broker: BrokerProcess, tmp_path: Path) -> None:
    file = tmp_path / "haypile.toml"
    file.write_text(
        f"vhosts = ['/', 'second']\n[[users]]\nname = 'app'\npassword = '{SECRET}'\n"
        "[[users.permissions]]\nvhost = 'second'\nconfigure = '^app-'\nwrite = '.*'\nread = '.*'\n"
    )
    broker.settings = {"config": str(file)}
    broker.start()
    with broker.connect() as client:
        client.start()
        client.log_in("guest", "guest", {"authentication_failure_close": True})
        client.expect_gone(403)
    with log_in_to("/", broker) as client:
        text = "NOT_ALLOWED - access to vhost '/' refused for user 'app'"
        client.expect_connection_close(530, text)
    with log_in_to("second", broker) as client:
        client.expect(Connection.OpenOk)
        channel = client.channel(1)
        channel.declare_queue("app-work")
        text = "ACCESS_REFUSED - configure access to queue 'work' in vhost 'second' refused for user 'app'"
        channel.refused(Queue.Declare(queue="work"), 403, text)


def log_in_to(vhost: str, broker: BrokerProcess) -> RawClient:
    client = broker.connect()
    client.start()
    client.log_in("app", SECRET)
    client.tune_ok()
    client.send(Connection.Open(virtual_host=vhost))
    return client


def test_the_limit_of_descriptors_is_raised(broker: BrokerProcess) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        broker.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert resource.prlimit(broker.pid, resource.RLIMIT_NOFILE)[0] == limits[1]


def test_more_connections_than_allowed_are_turned_away(broker: BrokerProcess) -> None:
    broker.settings = {"connections-max": "2"}
    broker.start()
    with broker.connect().open() as first, broker.connect().open() as second:
        with broker.connect() as third, contextlib.suppress(OSError):
            assert third.socket.recv(1) == b""
        first.close()
        while not is_admitted(broker):
            pass
        second.channel(1)


def is_admitted(broker: BrokerProcess) -> bool:
    with broker.connect() as client:
        try:
            client.open().close()
        except (AssertionError, OSError):
            return False
    return True
