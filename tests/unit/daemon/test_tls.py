"""What the files of TLS have to be, and what is said when they are not."""

import ssl
import subprocess
from pathlib import Path

import pytest

from broker.configuration import ConfigurationError, TlsConfiguration, load
from broker.tls import load_context
from tests.support.certificates import Certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def error_of(certificate: Path, key: Path | None = None, ca_certificates: Path | None = None) -> str:
    configuration = TlsConfiguration(
        str(certificate), str(key) if key else "", str(ca_certificates) if ca_certificates else ""
    )
    with pytest.raises(ConfigurationError) as raised:
        load_context(configuration)
    return str(raised.value)


def test_what_is_configured_is_asked_for(certificates: Certificates) -> None:
    key = certificates.key_of(certificates.server)
    context = load_context(TlsConfiguration(str(certificates.server), str(key)))
    assert (context.minimum_version, context.verify_mode) == (ssl.TLSVersion.TLSv1_2, ssl.CERT_NONE)
    for verify_clients, mode in (("optional", ssl.CERT_OPTIONAL), ("required", ssl.CERT_REQUIRED)):
        context = load_context(
            TlsConfiguration(
                str(certificates.server),
                str(key),
                str(certificates.ca),
                verify_clients=verify_clients,  # type: ignore[arg-type]
                minimum_version="1.3",
            )
        )
        assert (context.minimum_version, context.verify_mode) == (ssl.TLSVersion.TLSv1_3, mode)


def test_the_key_may_be_in_the_file_of_the_certificate(certificates: Certificates, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificates.server.read_bytes() + certificates.key_of(certificates.server).read_bytes())
    load_context(TlsConfiguration(str(both)))
    assert error_of(certificates.server).startswith(f"tls.key: no private key can be read from {certificates.server}")


def test_files_that_cannot_be_read_are_named(certificates: Certificates, tmp_path: Path) -> None:
    key = certificates.key_of(certificates.server)
    none = tmp_path / "none.pem"
    reason = f"cannot read the file {none}: No such file or directory"
    assert error_of(none, key) == f"tls.certificate: {reason}"
    assert error_of(certificates.server, none) == f"tls.key: {reason}"
    assert error_of(certificates.server, key, none) == f"tls.ca_certificates: {reason}"


def test_files_that_hold_something_else_are_named(certificates: Certificates, tmp_path: Path) -> None:
    key = certificates.key_of(certificates.server)
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    torn = tmp_path / "torn.pem"
    torn.write_bytes(certificates.server.read_bytes()[:200])
    for wrong in (text, torn, key):
        assert error_of(wrong, key).startswith(f"tls.certificate: no certificate can be read from {wrong} as PEM")
        assert error_of(certificates.server, key, wrong).startswith(
            f"tls.ca_certificates: no certificate can be read from {wrong} as PEM"
        )
    for wrong in (text, torn, certificates.server):
        assert error_of(certificates.server, wrong).startswith(f"tls.key: no private key can be read from {wrong}")


def test_a_key_of_another_certificate_is_refused(certificates: Certificates) -> None:
    key = certificates.key_of(certificates.client)
    assert error_of(certificates.server, key) == (
        f"tls.key: the key in {key} is not that of the certificate in {certificates.server}"
    )


def test_nobody_is_asked_for_the_password_of_a_key(certificates: Certificates, tmp_path: Path) -> None:
    encrypted = tmp_path / "encrypted.key"
    key = certificates.key_of(certificates.server)
    command = ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", str(key), "-out", str(encrypted)]
    subprocess.run(command, check=True, capture_output=True)
    assert error_of(certificates.server, encrypted) == (
        f"tls.key: the key in {encrypted} is encrypted; give it without a password"
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"listeners": ""}, "listeners and tls_listeners are both empty; at least one of them is needed"),
        ({"tls_listeners": "127.0.0.1:5671"}, "tls_listeners need tls.certificate, the PEM file that is shown"),
        ({"tls.verify_clients": "required"}, 'tls.verify_clients = "required" needs tls.ca_certificates'),
        ({"tls.verify_clients": "maybe"}, 'allowed is "none" or "optional" or "required"'),
        ({"tls.minimum_version": "1.1"}, 'allowed is "1.2" or "1.3"'),
        ({"tls_listeners": "5671"}, 'tls_listeners = ["5671"] (from flag --tls-listeners); allowed is a list of'),
    ],
)
def test_what_cannot_be_configured(flags: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(None, None, flags)
    assert expected in str(raised.value)


def test_a_broker_may_have_listeners_with_tls_only() -> None:
    flags = {"listeners": "", "tls_listeners": "127.0.0.1:5671", "tls.certificate": "server.pem"}
    assert load(None, None, flags).listeners == ()
