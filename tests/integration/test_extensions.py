"""Extensions of other distributions: the example of docs/extending.md, built, installed and used."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm, Exchange, Tx

from tests.conftest import StartBroker
from tests.support.broker_process import BrokerProcess

pytestmark = pytest.mark.haypile_only

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "extending.md"
EXCHANGE = Exchange.Declare(exchange="x", exchange_type="x-round-robin", durable=True)
INSTALL_TIMEOUT_S = 60


def example(language: str) -> str:
    """The first block of that language in the documentation."""
    found = re.search(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the example is installed in, built by pip without a network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    (source / "haypile_round_robin.py").write_text(example("python"))
    (source / "pyproject.toml").write_text(example("toml"))
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def broker(start_broker: StartBroker, installed: Path) -> BrokerProcess:
    return start_broker(environment={"PYTHONPATH": str(installed)})


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
