"""Extensions of other distributions: the example of docs/extending.md, built, installed and used."""

import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm, Connection, Exchange, Queue, Tx

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient

pytestmark = pytest.mark.haypile_only

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "extending.md"
EXCHANGE = Exchange.Declare(exchange="x", exchange_type="x-round-robin", durable=True)
INSTALL_TIMEOUT_S = 60


def examples(language: str) -> list[str]:
    """The blocks of that language in the documentation."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


def distribution(name: str) -> tuple[str, str]:
    """The module and the ``pyproject.toml`` of the example of that name; all but the first give only entry points."""
    (entries,) = [block for block in examples("toml") if f'= "{name}:' in block]
    loaded = entries.partition(f'= "{name}:')[2].partition('"')[0]
    (module,) = [block for block in examples("python") if re.search(rf"^(class|def) {loaded}\b", block, re.MULTILINE)]
    if "[project]" not in entries:
        first = examples("toml")[0].partition("[project.entry-points")[0]
        entries = first.replace("haypile-round-robin", name.replace("_", "-")) + entries
    return module, entries


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Install an example, built by pip without a network, and return the directory that it is in."""

    @cache
    def install(name: str) -> Path:
        source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
        module, project = distribution(name)
        (source / f"{name}.py").write_text(module)
        (source / "pyproject.toml").write_text(project)
        options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
        assert done.returncode == 0, done.stderr
        return target

    return install


@pytest.fixture
def broker(start_broker: StartBroker, install: Callable[[str], Path]) -> BrokerProcess:
    return start_broker(environment={"PYTHONPATH": str(install("haypile_round_robin"))})


def test_an_exchange_type_of_another_distribution(broker: BrokerProcess) -> None:
    assert '"distribution": "haypile-round-robin 1.0"' in broker.log_text
    channel = broker.connect().open().channel()
    channel.call(EXCHANGE)
    channel.call(EXCHANGE)
    for queue in ("one", "two"):
        channel.declare_queue(queue, durable=True)
        channel.bind(queue, "x")
    for number in range(6):
        channel.publish(str(number).encode(), "k", "x")
    assert [channel.bodies(queue) for queue in ("one", "two")] == [[b"0", b"2", b"4"], [b"1", b"3", b"5"]]
    broker.terminate()
    broker.start()
    channel = broker.connect().open().channel()
    for number in range(4):
        channel.publish(str(number).encode(), "k", "x")
    assert [channel.bodies(queue) for queue in ("one", "two")] == [[b"0", b"2"], [b"1", b"3"]]


def test_an_exchange_whose_type_has_gone_is_kept_and_routes_nothing(broker: BrokerProcess) -> None:
    channel = broker.connect().open().channel()
    channel.call(EXCHANGE)
    channel.declare_queue("q", durable=True)
    channel.bind("q", "x")
    environment, broker.environment = broker.environment, {}
    broker.terminate()
    broker.start()
    assert "unknown exchange type 'x-round-robin'" in broker.log_text
    channel = broker.connect().open().channel()
    channel = channel.refused(EXCHANGE, 406, "PRECONDITION_FAILED - unknown exchange type 'x-round-robin'")
    text = (
        "PRECONDITION_FAILED - Cannot route message through exchange 'x' in vhost '/': "
        "exchange type x-round-robin not found"
    )
    channel.publish(b"refused", "k", "x")
    channel.expect_channel_close(406, text, Basic.Publish)
    broker.environment = environment
    broker.terminate()
    broker.start()
    channel = broker.connect().open().channel()
    channel.publish(b"routed", "k", "x")
    assert channel.bodies("q") == [b"routed"]


def test_a_commit_that_cannot_be_routed_changes_nothing(broker: BrokerProcess) -> None:
    """The route depends on the message, so that only the commit finds out."""
    channel = broker.connect().open().channel()
    channel.call(EXCHANGE)
    channel.call(Exchange.Declare(exchange="h", exchange_type="headers", durable=True))
    channel.call(Exchange.Bind(destination="x", source="h", arguments={"a": 1}))
    channel.declare_queue("q", durable=True)
    broker.environment = {}
    broker.terminate()
    broker.start()
    client = broker.connect().open()
    other, channel = client.channel(1), client.channel(2)
    other.publish(b"taken", "q")
    other.expect_silence()
    channel.call(Tx.Select())
    taken = channel.get("q", no_ack=False)
    assert taken is not None
    channel.send(Basic.Ack(taken.method.delivery_tag))
    channel.publish(b"first", "q")
    channel.publish(b"second", "", "h", Basic.Properties(headers={"a": 1}))
    channel.send(Tx.Commit())
    channel.expect_channel_close(406, "PRECONDITION_FAILED - Cannot route message", starts_with=True)
    other.call(Confirm.Select())
    other.publish(b"later", "q", properties=Basic.Properties(delivery_mode=2))
    other.expect(Basic.Ack)
    assert other.bodies("q") == [b"taken", b"later"]


def test_a_broken_extension_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('out of order')\n")
    metadata = tmp_path / "broken_extension-2.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-extension\nVersion: 2.0\n")
    (metadata / "entry_points.txt").write_text("[haypile.exchange_types]\nx-broken = broken:Type\n")
    broker = BrokerProcess(tmp_path / "data")
    broker.environment = {"PYTHONPATH": str(tmp_path)}
    with pytest.raises(AssertionError, match="ended with code 7"):
        broker.start()
    reason = (
        "haypile: extension 'x-broken' (haypile.exchange_types) of broken-extension 2.0: "
        "cannot load 'broken:Type': RuntimeError: out of order\n"
    )
    assert broker.log[-1] == reason
    assert "Traceback" not in broker.log_text


def test_an_interceptor_of_another_distribution(start_broker: StartBroker, install: Callable[[str], Path]) -> None:
    broker = start_broker(environment={"PYTHONPATH": str(install("haypile_guard"))})
    assert '"distribution": "haypile-guard 1.0"' in broker.log_text
    channel = broker.connect().open().channel()
    channel.declare_queue("q")
    channel.publish(b"body", "q", properties=Basic.Properties(headers={"internal": 1, "a": 2}, message_id="m"))
    channel.consume("q")
    seen = channel.deliver()
    assert seen.body == b"body"
    assert seen.properties.headers == {"a": 2, "published-by": "guest"}
    assert seen.properties.message_id == "m"
    channel.publish(b"1234567812345678", "q")
    channel.expect_channel_close(406, "PRECONDITION_FAILED - no card numbers here", Basic.Publish)


def test_a_queue_argument_of_another_distribution(start_broker: StartBroker, install: Callable[[str], Path]) -> None:
    broker = start_broker(environment={"PYTHONPATH": str(install("haypile_owner"))})
    channel = broker.connect().open().channel()
    channel.declare_queue("q", arguments={"x-owner": "billing"})
    text = "PRECONDITION_FAILED - inequivalent arg 'x-owner' for queue 'q' in vhost '/': received 'shipping' "
    channel = channel.refused(Queue.Declare(queue="q", arguments={"x-owner": "shipping"}), 406, text, starts_with=True)
    channel.refused(
        Queue.Declare(queue="other", arguments={"x-owner": "sales"}),
        406,
        "PRECONDITION_FAILED - invalid arg 'x-owner' for queue 'other' in vhost '/': "
        "'sales' is none of billing, shipping",
    )


def test_an_authentication_back_end_of_another_distribution(
    start_broker: StartBroker, install: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "accounts.json").write_text('{"ann": "secret"}')
    environment = {
        "PYTHONPATH": str(install("haypile_accounts")),
        "ACCOUNTS_FILE": str(tmp_path / "accounts.json"),
    }
    broker = start_broker({"authentication": "users,accounts"}, environment)

    def log_in(user: str, password: str) -> RawClient:
        client = broker.connect()
        client.start()
        client.log_in(user, password)
        return client

    for user, password in (("ann", "secret"), ("guest", "guest")):
        client = log_in(user, password)
        client.tune_ok()
        client.send(Connection.Open(virtual_host="/"))
        client.expect(Connection.OpenOk)
        client.channel().declare_queue(user)
    close = log_in("ann", "guest").expect(Connection.Close)
    assert (close.reply_code, "Login was refused" in close.reply_text) == (403, True)
    broker.terminate()
    broker.settings["authentication"] = "accounts"
    broker.start()
    log_in("guest", "guest").expect(Connection.Close)
    log_in("ann", "secret").tune_ok()


def test_a_back_end_that_is_not_installed_stops_the_start(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "data", {"authentication": "users,ldap"})
    with pytest.raises(AssertionError, match="ended with code 7"):
        broker.start()
    assert broker.log[-1] == "haypile: authentication: no back end 'ldap' is installed; there are: none\n"
