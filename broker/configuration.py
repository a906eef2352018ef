"""What can be configured: from a TOML file, the environment and flags to one validated object.

Later sources win: defaults, file, environment (``HAYPILE_`` and the key in capitals, dots as underscores), flags
(``--`` and the key, dots and underscores as hyphens). ``docs/configuration.md`` tells what each key means.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from broker.access.passwords import PasswordHash

ENVIRONMENT_PREFIX = "HAYPILE_"
# Variables that begin as ours and set no key: the file to read, and what the build looks at.
OTHER_VARIABLES = ("HAYPILE_CONFIG", "HAYPILE_TRACE")
# What Kubernetes and Docker put into the environment where a service is called "haypile".
_SERVICE_LINK = re.compile(r"HAYPILE_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP)(_[A-Z]+)?)?)")
# Given in a file or a variable only: every user of a machine can read the flags of every process.
NOT_FLAGS = ("users",)
REDACTED = "(hidden)"

PATTERN_LENGTH_MAX = 1024
_PORT = r"(6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|\d{1,4})"

Name = Annotated[str, Meta(min_length=1, max_length=255, description="a name of 1 to 255 characters")]
Pattern = Annotated[str, Meta(max_length=PATTERN_LENGTH_MAX)]
Milliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]
MillisecondsOrOff = Annotated[int, Meta(ge=0, le=4_294_967_295)]
_ADDRESS = rf"(\[[0-9A-Fa-f:.]+(%\w+)?\]|[A-Za-z0-9._-]+):{_PORT}"
_ADDRESS_IN_WORDS = '"host:port" with a port from 0 to 65535 and an IPv6 address in brackets'
Address = Annotated[str, Meta(pattern=f"^{_ADDRESS}$", description=_ADDRESS_IN_WORDS)]
AddressOrOff = Annotated[str, Meta(pattern=f"^({_ADDRESS}|)$", description=f'{_ADDRESS_IN_WORDS}, or ""')]


class ConfigurationError(Exception):
    """A configuration that cannot be used; the text names the key, the value, its source and what is allowed."""


def _require_unique(names: list[str] | tuple[str, ...]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is there more than once")


class Permissions(Struct, frozen=True, forbid_unknown_fields=True):
    """What a user may do in one virtual host: regular expressions that are searched in names, as in RabbitMQ.

    An empty expression matches nothing.
    """

    vhost: Name
    configure: Pattern = ""
    write: Pattern = ""
    read: Pattern = ""

    def __post_init__(self) -> None:
        for permission in ("configure", "write", "read"):
            try:
                re.compile(getattr(self, permission))
            except re.error as error:
                raise ValueError(f"{permission} is no regular expression: {error}") from None


ALL_OF_DEFAULT_VHOST = (Permissions("/", ".*", ".*", ".*"),)


class UserAccount(Struct, frozen=True, forbid_unknown_fields=True):
    """A user. One of ``password`` and ``password_hash`` (RabbitMQ's salted SHA-256, in base64) is needed."""

    name: Name
    password: str = ""
    password_hash: str = ""
    tags: tuple[str, ...] = ()
    loopback_only: bool = False
    permissions: tuple[Permissions, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.password) == bool(self.password_hash):
            raise ValueError(f"user {self.name!r} needs either password or password_hash")
        if self.password_hash:
            PasswordHash(self.password_hash)
        _require_unique([permissions.vhost for permissions in self.permissions])

    def __repr__(self) -> str:
        return f"UserAccount({self.name!r})"


class JournalConfiguration(Struct, frozen=True, forbid_unknown_fields=True):
    """The journals, one for each virtual host."""

    segment_size_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 32)] = 64 << 20
    spare_segments: Annotated[int, Meta(ge=0, le=64)] = 4
    stall_warning_ms: Milliseconds = 10_000
    retention_s: Annotated[int, Meta(ge=0, le=315_360_000)] = 0
    retention_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] = 0
    scrub_interval_s: Annotated[int, Meta(ge=0, le=31_536_000)] = 0
    scrub_rate_bytes_per_s: Annotated[int, Meta(ge=1 << 16, le=1 << 40)] = 8 << 20


class MetricsConfiguration(Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP end point of ``/metrics`` and ``/health``."""

    listener: AddressOrOff = "127.0.0.1:15692"
    per_object: bool = False


class TlsConfiguration(Struct, frozen=True, forbid_unknown_fields=True):
    """What the ``tls_listeners`` show and ask for. Files are PEM; without ``key`` it is in the certificate's file."""

    certificate: str = ""
    key: str = ""
    ca_certificates: str = ""
    verify_clients: Literal["none", "optional", "required"] = "none"
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    handshake_timeout_ms: Milliseconds = 5_000


class LogConfiguration(Struct, frozen=True, forbid_unknown_fields=True):
    """Logging, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"


class Configuration(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be configured, with its default."""

    data_dir: Annotated[str, Meta(min_length=1)] = "./data"
    listeners: tuple[Address, ...] = ("127.0.0.1:5672", "[::1]:5672")
    tls_listeners: tuple[Address, ...] = ()
    cluster_name: Name = "haypile"
    connections_max: Annotated[int, Meta(ge=1, le=1_048_576)] = 65_536
    channel_max: Annotated[int, Meta(ge=1, le=65_535)] = 2047
    frame_max_bytes: Annotated[int, Meta(ge=8192, le=16 << 20)] = 131_072
    heartbeat_s: Annotated[int, Meta(ge=0, le=65_535)] = 60
    handshake_timeout_ms: Milliseconds = 10_000
    shutdown_timeout_ms: Milliseconds = 5_000
    busy_poll_us: Annotated[int, Meta(ge=0, le=1_000)] = 50
    consumer_timeout_ms: Annotated[int, Meta(ge=0)] = 0
    max_message_size_bytes: Annotated[int, Meta(ge=1, le=512 << 20)] = 128 << 20
    memory_high_watermark_bytes: Annotated[int, Meta(ge=0)] = 0
    memory_high_watermark_ratio: Annotated[float, Meta(gt=0, le=1)] = 0.6
    message_memory_bytes: Annotated[int, Meta(ge=0)] = 0
    disk_free_limit_bytes: Annotated[int, Meta(ge=0)] = 256 << 20
    vhosts: Annotated[tuple[Name, ...], Meta(min_length=1)] = ("/",)
    tracing: tuple[Name, ...] = ()
    event_exchange: bool = False
    authentication: Annotated[tuple[Name, ...], Meta(min_length=1)] = ("users",)
    users: tuple[UserAccount, ...] = (
        UserAccount(
            "guest",
            password="guest",  # noqa: S106 - everybody knows it, so it serves on this machine only
            tags=("administrator",),
            loopback_only=True,
            permissions=ALL_OF_DEFAULT_VHOST,
        ),
    )
    journal: JournalConfiguration = JournalConfiguration()
    tls: TlsConfiguration = TlsConfiguration()
    metrics: MetricsConfiguration = MetricsConfiguration()
    log: LogConfiguration = LogConfiguration()


def keys(struct: type[Struct] = Configuration, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield every key with its type and its default; those of a section as ``section.key``."""
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, Struct):
            yield from keys(field.type, f"{field.name}.")
        else:
            yield prefix + field.name, field.type, field.default


def flag_of(key: str) -> str:
    """Return the command line's name of a key."""
    return "--" + key.replace(".", "-").replace("_", "-")


def variable_of(key: str) -> str:
    """Return the environment's name of a key."""
    return ENVIRONMENT_PREFIX + key.replace(".", "_").upper()


def load(
    file: Path | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> Configuration:
    """Return the configuration from its sources; ``flags`` are by key. Raises ``ConfigurationError``."""
    types = {key: kind for key, kind, _ in keys()}
    values: dict[str, Any] = {}
    if file is not None:
        for key, value in _flatten(_read(file)):
            source = f"file {file}"
            if key not in types:
                raise ConfigurationError(f"{key} (from {source}): unknown key; known keys are {', '.join(types)}")
            values[key] = _convert(key, value, types[key], source, strict=True)
    variables = {variable_of(key): key for key in types}
    for name, text in (environment or {}).items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name in OTHER_VARIABLES:
            continue
        if name not in variables:
            if _SERVICE_LINK.fullmatch(name):
                continue
            raise ConfigurationError(f"{name}: unknown variable; known variables are {', '.join(variables)}")
        values[variables[name]] = _parse(variables[name], text, types, f"environment variable {name}")
    for key, text in (flags or {}).items():
        values[key] = _parse(key, text, types, f"flag {flag_of(key)}")
    configuration = msgspec.convert(_nest(values), Configuration)
    _check_together(configuration)
    return configuration


def _check_together(configuration: Configuration) -> None:
    """Refuse what only several keys together have wrong."""
    for name in configuration.tracing:
        if name not in configuration.vhosts:
            raise ConfigurationError(f"tracing = {json.dumps(configuration.tracing)}: {name!r} is not among the vhosts")
    if not configuration.listeners and not configuration.tls_listeners:
        raise ConfigurationError("listeners and tls_listeners are both empty; at least one of them is needed")
    if configuration.tls_listeners and not configuration.tls.certificate:
        raise ConfigurationError("tls_listeners need tls.certificate, the PEM file that is shown to clients")
    if configuration.tls.verify_clients != "none" and not configuration.tls.ca_certificates:
        raise ConfigurationError(
            f"tls.verify_clients = {json.dumps(configuration.tls.verify_clients)} needs tls.ca_certificates, the PEM "
            "file with the authorities that clients' certificates come from"
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the file {file} is not TOML: {error}") from None


def _flatten(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            for inner, inner_value in value.items():
                yield f"{key}.{inner}", inner_value
        else:
            yield key, value


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[name] = value
    return nested


def _parse(key: str, text: str, types: Mapping[str, Any], source: str) -> Any:
    """Return the value that a variable or a flag gives: lists are separated by commas, users are JSON."""
    value: Any = text
    if key == "users":
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"users (from {source}): not JSON: {error}") from None
    elif _is_list(types[key]):
        value = [part.strip() for part in text.split(",")] if text.strip() else []
    return _convert(key, value, types[key], source, strict=False)


def _convert(key: str, value: Any, kind: Any, source: str, *, strict: bool) -> Any:
    try:
        converted = msgspec.convert(value, kind, strict=strict)
        if key in ("vhosts", "authentication"):
            _require_unique(converted)
        elif key == "users":
            _require_unique([user.name for user in converted])
    except msgspec.ValidationError as error:
        if key == "users":
            # What msgspec says of a user is a path and a type, and never repeats a value.
            raise ConfigurationError(f"users = {REDACTED} (from {source}): {error}") from None
        shown = json.dumps(value, default=str)
        raise ConfigurationError(f"{key} = {shown} (from {source}); allowed is {_allowed(kind)}") from None
    except ValueError as error:
        raise ConfigurationError(f"{key} (from {source}): {error}") from None
    # Back to plain values: structs of a section are made of them once all sources are read.
    return msgspec.to_builtins(converted) if key == "users" else converted


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple or (get_origin(kind) is Annotated and _is_list(get_args(kind)[0]))


def _allowed(kind: Any) -> str:
    """Say in words which values a type has."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _allowed_by(arguments[0], arguments[1])
    if origin is Literal:
        return " or ".join(json.dumps(argument) for argument in arguments)
    if origin is tuple:
        return f"a list of {_allowed(arguments[0])}"
    return "true or false" if kind is bool else "a text"


def _allowed_by(kind: Any, meta: Meta) -> str:
    if meta.description is not None:
        return meta.description
    if kind is float:
        return f"a number above {meta.gt}, at most {meta.le}"
    if kind is int:
        return f"a whole number of at least {meta.ge}" + ("" if meta.le is None else f", at most {meta.le}")
    return _allowed(kind) + (", at least one" if _is_list(kind) else ", not empty" if meta.min_length else "")


def show(configuration: Configuration) -> str:
    """Return the configuration as TOML, with every secret hidden."""
    plain = msgspec.to_builtins(configuration)
    lines = [
        f"{key} = {_toml(value)}" for key, value in plain.items() if not isinstance(value, dict) and key != "users"
    ]
    for section, values in plain.items():
        if isinstance(values, dict):
            lines += ["", f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    for user in plain["users"]:
        secret = "password" if user["password"] else "password_hash"
        lines += ["", "[[users]]", f"name = {_toml(user['name'])}", f"# {secret} = {REDACTED}"]
        lines += [f"{key} = {_toml(user[key])}" for key in ("tags", "loopback_only")]
        for permissions in user["permissions"]:
            lines += ["", "[[users.permissions]]", *(f"{key} = {_toml(value)}" for key, value in permissions.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    # JSON's strings, numbers, booleans and lists are also TOML's, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
