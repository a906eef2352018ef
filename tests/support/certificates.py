"""Certificates for a test, made by ``openssl``: an authority, a server, a client, and somebody whom nobody knows."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

DAYS = "2"


class Certificates:
    """PEM files in a directory. ``NAME.pem`` is a certificate and ``NAME.key`` its key."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.ca = self.make("ca", authority=None)
        self.server = self.make("server", authority="ca")
        self.client = self.make("client", authority="ca")
        self.other_ca = self.make("other-ca", authority=None)
        self.stranger = self.make("stranger", authority="other-ca")

    def key_of(self, certificate: Path) -> Path:
        """The file with the key of a certificate."""
        return certificate.with_suffix(".key")

    def make(self, name: str, authority: str | None) -> Path:
        """Make a key and a certificate; without an authority it is one itself."""
        certificate = self._directory / f"{name}.pem"
        command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-days", DAYS, "-subj", f"/CN={name}", "-out", str(certificate)]
        command += ["-keyout", str(self.key_of(certificate))]
        if authority is not None:
            issuer = self._directory / f"{authority}.pem"
            command += ["-CA", str(issuer), "-CAkey", str(self.key_of(issuer))]
            command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
            command += ["-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run(command, check=True, capture_output=True)
        return certificate

    def settings(self, **others: str) -> dict[str, str]:
        """The settings of a broker with a TLS listener; ``verify_clients="required"`` and so on are of ``tls``."""
        return {
            "tls-listeners": "127.0.0.1:0",
            "tls-certificate": str(self.server),
            "tls-key": str(self.key_of(self.server)),
            "tls-ca-certificates": str(self.ca),
        } | {f"tls-{name.replace('_', '-')}": value for name, value in others.items()}

    def context(self, certificate: Path | None = None) -> ssl.SSLContext:
        """What a client connects with: it checks the server, and shows a certificate if it has one."""
        context = ssl.create_default_context(cafile=self.ca)
        if certificate is not None:
            context.load_cert_chain(certificate, self.key_of(certificate))
        return context
