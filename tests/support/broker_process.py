"""Runs the broker as its users do: as a process of its own, on free ports, with a data directory."""

import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from tests.support.raw_client import Address, RawClient

READY_TIMEOUT_S = 20.0
EXIT_TIMEOUT_S = 20.0


class BrokerProcess:
    """A broker on a data directory. It can be killed, ended and started again on the same directory and port.

    Settings are given as on the command line, without the dashes: ``{"heartbeat-s": "30"}``. ``environment`` is
    added to that of the tests.
    """

    def __init__(self, data_directory: Path, settings: dict[str, str] | None = None) -> None:
        self.data_directory = data_directory
        self.settings = settings or {}
        self.environment: dict[str, str] = {}
        self.address: Address = ("127.0.0.1", 0)
        self.tls_address: Address = ("127.0.0.1", 0)
        self.metrics_address: Address = ("127.0.0.1", 0)
        self.log: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._log_reader: threading.Thread | None = None
        self._clients: list[RawClient] = []

    @property
    def pid(self) -> int:
        """The process id of the running broker."""
        assert self._process is not None, "the broker was not started"
        return self._process.pid

    def command(self) -> list[str]:
        """The command line, with the ports that the broker had before when it is started again."""
        flags = {
            "listeners": "{}:{}".format(*self.address),
            "metrics-listener": "{}:{}".format(*self.metrics_address),
            "data-dir": str(self.data_directory),
            **self.settings,
        }
        return [sys.executable, "-m", "broker", *(word for name in flags for word in (f"--{name}", flags[name]))]

    def start_and_kill(self, after_s: float) -> None:
        """Start the broker and end it with SIGKILL so much later, in whatever state it is then."""
        self._spawn()
        killer = threading.Timer(after_s, self.send_signal, (signal.SIGKILL,))
        killer.start()
        killer.join()
        self.wait()

    def start(self) -> None:
        """Start the broker and wait until it says that it is ready."""
        lines = self._spawn()
        while (line := lines.get(timeout=READY_TIMEOUT_S)) is not None:
            if self._is_ready(line):
                return
        raise AssertionError(f"the broker ended with code {self.wait()} before it was ready:\n{self.log_text}")

    def _spawn(self) -> "queue.Queue[str | None]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HAYPILE_")}
        environment |= self.environment
        process = subprocess.Popen(self.command(), stderr=subprocess.PIPE, text=True, env=environment)
        self._process = process
        lines: queue.Queue[str | None] = queue.Queue()
        self._log_reader = threading.Thread(target=self._read_log, args=(process, lines), daemon=True)
        self._log_reader.start()
        return lines

    def metric(self, name: str) -> float:
        """The sum of all series of that name. Raises OSError when the broker is not there."""
        host, port = self.metrics_address
        with urllib.request.urlopen(f"http://{host}:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + " ", name + "{")))

    @property
    def log_text(self) -> str:
        """Everything that the broker has written to its log."""
        return "".join(self.log)

    def kill(self) -> None:
        """End the broker with SIGKILL."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """End the broker with SIGTERM and return its exit code."""
        return self._end(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal and wait for nothing."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for the end of the broker and of its log, and return its exit code."""
        assert self._process is not None, "the broker was not started"
        assert self._log_reader is not None
        code = self._process.wait(EXIT_TIMEOUT_S)
        self._log_reader.join(EXIT_TIMEOUT_S)
        return code

    def stop(self) -> None:
        """Clean up after a test: end whatever still runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for client in self._clients:
            client.socket.close()

    def connect(self) -> RawClient:
        """A raw client that has done nothing yet; ``stop`` cuts it."""
        self._clients.append(RawClient(self.address))
        return self._clients[-1]

    def connect_tls(self, context: ssl.SSLContext) -> RawClient:
        """The same over TLS."""
        self._clients.append(RawClient(self.tls_address, tls=context))
        return self._clients[-1]

    def _end(self, number: signal.Signals) -> int:
        self.send_signal(number)
        return self.wait()

    def _read_log(self, process: "subprocess.Popen[str]", lines: "queue.Queue[str | None]") -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.log.append(line)
                lines.put(line)
        lines.put(None)

    def _is_ready(self, line: str) -> bool:
        try:
            entry = json.loads(line)
        except ValueError:
            return False
        if not isinstance(entry, dict) or entry.get("event") != "ready":
            return False
        if entry["listeners"]:
            self.address = _address(entry["listeners"][0])
        if "tls_listeners" in entry:
            self.tls_address = _address(entry["tls_listeners"][0])
        self.metrics_address = _address(entry["metrics"])
        return True


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host, int(port)
