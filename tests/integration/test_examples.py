"""The example programs, as their users run them: each as a process, against the broker's address."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import StartBroker
from tests.support.raw_client import Address

EXAMPLES = Path(__file__).parent.parent / "examples"
TIMEOUT_S = 60


def run(program: str, *arguments: object) -> str:
    command = [sys.executable, str(EXAMPLES / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_orders_are_produced_and_worked_through(address: Address) -> None:
    assert run("producer.py", 50, *address) == "confirmed 50\n"
    assert run("consumer.py", *address) == "worked through 50\n"
    assert run("consumer.py", *address) == "worked through 0\n"


def test_the_rpc_server_answers(address: Address) -> None:
    command = [sys.executable, str(EXAMPLES / "rpc_server.py"), *map(str, address)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "waiting for requests\n"
        assert run("rpc_client.py", 30, *address) == "832040\n"
        assert run("rpc_client.py", 0, *address) == "0\n"
        server.terminate()


def test_confirmed_orders_are_there_after_a_crash(start_broker: StartBroker) -> None:
    broker = start_broker()
    assert run("producer.py", 100, *broker.address) == "confirmed 100\n"
    broker.kill()
    broker.start()
    assert run("consumer.py", *broker.address) == "worked through 100\n"
