"""Runs a RabbitMQ of its own: own ports, directories, node name and port mapper, on the loopback interface only.

Debian's wrapper insists on a user of its own, so RabbitMQ's start script is run itself. What was started is ended by
its process id: Erlang's port mapper (started here, in the foreground, before the broker would start one that stays),
and the Erlang machine by the pid file that it writes.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.support.raw_client import Address

START_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
HOST = "127.0.0.1"
READY_TIMEOUT_S = 60.0
EXIT_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.05
CONFIGURATION = """\
listeners.tcp.1 = {address}
handshake_timeout = 2000
max_message_size = 1048576
disk_free_limit.absolute = 1MB
log.console = false
log.file.level = warning
"""


def why_unavailable() -> str | None:
    """Why no RabbitMQ can be started here, or None."""
    if not START_SCRIPT.exists():
        return f"RabbitMQ is not installed: there is no {START_SCRIPT}"
    if shutil.which("epmd") is None:
        return "RabbitMQ cannot run: there is no epmd on the PATH"
    return None


class RabbitMQProcess:
    """A RabbitMQ with its files in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.address: Address = (HOST, 0)
        self._pid_file = directory / "pid"
        self._output_file = directory / "output"
        self._mapper: subprocess.Popen[bytes] | None = None
        self._script: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the broker and wait until it accepts connections."""
        port, distribution, mapper = _free_ports(3)
        self.address = (HOST, port)
        environment = self._environment(distribution, mapper)
        (self.directory / "rabbitmq.conf").write_text(CONFIGURATION.format(address=f"{HOST}:{port}"))
        (self.directory / "enabled_plugins").write_text("[].\n")
        epmd = ["epmd", "-port", str(mapper), "-address", HOST]
        self._mapper = subprocess.Popen(epmd, env=environment, stdin=subprocess.DEVNULL)
        with self._output_file.open("wb") as output:
            self._script = subprocess.Popen(
                [str(START_SCRIPT)], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End what was started. Nothing of this broker is kept, so it is not asked politely."""
        if self._script is not None:
            with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
                os.kill(int(self._pid_file.read_text()), signal.SIGKILL)
            try:
                self._script.wait(EXIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._script.kill()
                self._script.wait(EXIT_TIMEOUT_S)
        if self._mapper is not None:
            self._mapper.terminate()
            self._mapper.wait(EXIT_TIMEOUT_S)

    def _environment(self, distribution_port: int, mapper_port: int) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "ERL_EPMD_PORT": str(mapper_port),
            "RABBITMQ_NODENAME": f"haypile-test-{self.address[1]}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_DIR": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "there-is-none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self._pid_file),
        }

    def _wait_until_ready(self) -> None:
        assert self._script is not None
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and self._script.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(self.address, 1.0):
                return
            time.sleep(POLL_INTERVAL_S)
        self.stop()
        raise AssertionError(f"RabbitMQ did not start:\n{self._output_file.read_text(errors='replace')}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
