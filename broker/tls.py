"""From the section ``tls`` of the configuration to what TLS connections are made with."""

from __future__ import annotations

import ssl
from pathlib import Path

from broker.configuration import ConfigurationError, TlsConfiguration

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
VERIFY_MODES = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def load_context(configuration: TlsConfiguration) -> ssl.SSLContext:
    """Read certificate, key and certificate authorities, and check that they belong together.

    Raises ``ConfigurationError``, which names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[configuration.minimum_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_certificate(context, configuration.certificate, configuration.key or configuration.certificate)
    if configuration.ca_certificates:
        _read("tls.ca_certificates", configuration.ca_certificates)
        _load_certificates(context, "tls.ca_certificates", configuration.ca_certificates)
    context.verify_mode = VERIFY_MODES[configuration.verify_clients]
    return context


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    _read("tls.certificate", certificate)
    _read("tls.key", key)
    # What is wrong is told of one file after the other, so this comes on its own first.
    _load_certificates(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "tls.certificate", certificate)
    try:
        # OpenSSL would ask the terminal for a password.
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except _EncryptedKeyError:
        raise ConfigurationError(f"tls.key: the key in {key} is encrypted; give it without a password") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            text = f"tls.key: the key in {key} is not that of the certificate in {certificate}"
        elif error.reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
            text = f"tls.certificate: {certificate} is refused by OpenSSL: {_words(error)}"
        else:
            text = f"tls.key: no private key can be read from {key} as PEM ({_words(error)})"
        raise ConfigurationError(text) from None


def _load_certificates(context: ssl.SSLContext, key: str, file: str) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{key}: no certificate can be read from {file} as PEM ({_words(error)})") from None


def _read(key: str, file: str) -> None:
    # The system's errors come out of ``ssl`` without the name of the file.
    try:
        Path(file).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{key}: cannot read the file {file}: {error.strerror}") from None


def _words(error: ssl.SSLError) -> str:
    return (error.reason or error.strerror or str(error)).lower().replace("_", " ")


class _EncryptedKeyError(Exception):
    """Somebody asked for a password."""


def _refuse_password() -> str:
    raise _EncryptedKeyError
