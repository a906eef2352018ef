"""The brokers that are compared: each on ports and directories of its own, ended by its process id."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.tls import Certificate, TlsPort

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_TIMEOUT_S = 60


class BrokerUnavailableError(Exception):
    """A broker that is not installed, or did not start."""


class Haypile:
    """Haypile as installed in this environment."""

    name = "haypile"
    wrapper: Sequence[str] = ()
    """What runs the broker, if it does not run by itself."""

    def __init__(
        self,
        directory: Path,
        settings: dict[str, str] | None = None,
        timeout_s: float = START_TIMEOUT_S,
        certificate: Certificate | None = None,
    ) -> None:
        command = [*self.wrapper, sys.executable, "-m", "broker", "--data-dir", str(directory / "data")]
        command += ["--listeners", "127.0.0.1:0", "--metrics-listener", "127.0.0.1:0"]
        settings = dict(settings or {})
        if certificate is not None:
            settings["tls-listeners"] = "127.0.0.1:0"
            settings |= {"tls-certificate": str(certificate.certificate), "tls-key": str(certificate.key)}
        for name, value in settings.items():
            command += [f"--{name}", value]
        with (directory / "log").open("w") as log:
            self.process = subprocess.Popen(command, stderr=log)
        self.pid = self.process.pid
        ready = self._ready(directory / "log", timeout_s)
        self.port = _port(ready["listeners"][0])
        self.tls_port = TlsPort(_port(ready["tls_listeners"][0])) if certificate is not None else None
        self.metrics_url = f"http://{ready['metrics']}/metrics"

    def _ready(self, log: Path, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in log.read_text().splitlines():
                if '"ready"' in line:
                    ready: dict[str, Any] = json.loads(line)
                    return ready
            time.sleep(0.02)
        raise BrokerUnavailableError(log.read_text())

    def stop(self) -> None:
        """End the broker."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def kill(self) -> None:
        """End the broker without a chance to do anything."""
        self.process.kill()
        self.process.wait(30)


class RabbitMQ:
    """Debian's rabbitmq-server, with its defaults."""

    name = "rabbitmq"

    def __init__(self, directory: Path, certificate: Certificate | None = None) -> None:
        if not RABBITMQ.exists():
            raise BrokerUnavailableError("rabbitmq-server is not installed")
        self.port, distribution, mapper = _free_port(), _free_port(), _free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(mapper),
            "RABBITMQ_NODENAME": f"benchmark{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
        }
        self.tls_port = None
        if certificate is not None:
            self.tls_port = TlsPort(_free_port())
            configuration = directory / "rabbitmq.conf"
            configuration.write_text(
                f"listeners.ssl.default = 127.0.0.1:{self.tls_port}\n"
                f"ssl_options.certfile = {certificate.certificate}\n"
                f"ssl_options.keyfile = {certificate.key}\n"
                "ssl_options.versions.1 = tlsv1.3\n"
            )
            environment["RABBITMQ_CONFIG_FILE"] = str(configuration)
        self.process = subprocess.Popen(
            [str(RABBITMQ)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.pid = self.process.pid
        # The one with TLS is opened last.
        port = self.tls_port or self.port
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _listening(port):
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.stop()
                raise BrokerUnavailableError("rabbitmq-server did not start")
            time.sleep(0.2)

    def stop(self) -> None:
        """End the broker."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


Broker = Haypile | RabbitMQ


class Start(Protocol):
    """How a broker is started: in a directory, with TLS if it is given a certificate."""

    def __call__(self, directory: Path, *, certificate: Certificate | None = None) -> Broker:
        """Start it."""


BROKERS: dict[str, Start] = {"haypile": Haypile, "rabbitmq": RabbitMQ}


def remove(directory: Path) -> None:
    """Remove what a broker left."""
    shutil.rmtree(directory, ignore_errors=True)
