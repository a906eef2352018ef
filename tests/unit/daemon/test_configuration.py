"""From file, environment and flags to one configuration."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from broker.configuration import (
    NOT_FLAGS,
    Configuration,
    ConfigurationError,
    flag_of,
    keys,
    load,
    show,
    variable_of,
)

DOCS = Path(__file__).parents[3] / "docs"
DEFAULTS = {key: default for key, _, default in keys()}
SECRET = "s3cret"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_file(text: str) -> Path:
        path = tmp_path / "haypile.toml"
        path.write_text(text)
        return path

    return write_file


def error_of(*sources: Any) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load(*sources)
    return str(raised.value)


def test_nothing_given_is_the_default() -> None:
    assert load() == Configuration()


def test_later_sources_win(write: Any) -> None:
    file = write("heartbeat_s = 1\nchannel_max = 10\n[log]\nlevel = 'debug'\n")
    environment = {"HAYPILE_HEARTBEAT_S": "2", "HAYPILE_LOG_LEVEL": "error", "PATH": "/bin"}
    assert load(file).heartbeat_s == 1
    assert load(file, environment).heartbeat_s == 2
    configuration = load(file, environment, {"heartbeat_s": "3"})
    assert (configuration.heartbeat_s, configuration.channel_max, configuration.log.level) == (3, 10, "error")


def test_lists_and_switches_as_text() -> None:
    configuration = load(None, {"HAYPILE_LISTENERS": "0.0.0.0:5672, [::]:0", "HAYPILE_METRICS_PER_OBJECT": "true"})
    assert configuration.listeners == ("0.0.0.0:5672", "[::]:0")
    assert configuration.metrics.per_object is True


def test_metrics_can_be_switched_off() -> None:
    assert load(None, None, {"metrics.listener": ""}).metrics.listener == ""


def test_users_of_a_file(write: Any) -> None:
    file = write(
        '[[users]]\nname = "app"\npassword = "p"\ntags = ["monitoring"]\n'
        '[[users.permissions]]\nvhost = "/"\nread = "^a"\n'
    )
    (user,) = load(file).users
    assert (user.name, user.tags, user.loopback_only) == ("app", ("monitoring",), False)
    assert [(p.vhost, p.configure, p.write, p.read) for p in user.permissions] == [("/", "", "", "^a")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "heartbeat_s = '60'",
            'heartbeat_s = "60" (from file {}); allowed is a whole number of at least 0, at most 65535',
        ),
        ("heartbeat_s = true", "heartbeat_s = true (from file {}); allowed is a whole number of at least 0"),
        ("channel_max = 0", "channel_max = 0 (from file {}); allowed is a whole number of at least 1, at most 65535"),
        ("data_dir = ''", 'data_dir = "" (from file {}); allowed is a text, not empty'),
        ("listeners = []", "listeners and tls_listeners are both empty; at least one of them is needed"),
        ("listeners = ['x']", 'listeners = ["x"] (from file {}); allowed is a list of "host:port" with a port from 0'),
        ("vhosts = ['a', 'a']", "vhosts (from file {}): 'a' is there more than once"),
        ("authentication = ['users', 'users']", "authentication (from file {}): 'users' is there more than once"),
        ("authentication = []", "authentication = [] (from file {}); allowed is a list of"),
        ("memory_high_watermark_ratio = 1.5", "(from file {}); allowed is a number above 0, at most 1"),
        ("[log]\nlevel = 'loud'", 'log.level = "loud" (from file {}); allowed is "debug" or "info" or "warning" or'),
        ("[metrics]\nper_object = 1", "metrics.per_object = 1 (from file {}); allowed is true or false"),
        ("heartbeat = 1", "heartbeat (from file {}): unknown key; known keys are data_dir, listeners,"),
        ("[logs]\nlevel = 'info'", "logs.level (from file {}): unknown key"),
        ("log = 'info'", "log (from file {}): unknown key"),
        ("heartbeat_s = ", "the file {} is not TOML: "),
    ],
)
def test_errors_name_key_value_source_and_what_is_allowed(write: Any, text: str, expected: str) -> None:
    file = write(text)
    assert expected.format(file) in error_of(file)


def test_errors_name_variables_and_flags() -> None:
    assert error_of(None, {"HAYPILE_HEARTBEAT_S": "1h"}).startswith(
        'heartbeat_s = "1h" (from environment variable HAYPILE_HEARTBEAT_S); allowed is a whole number'
    )
    assert error_of(None, None, {"log.format": "xml"}).startswith(
        'log.format = "xml" (from flag --log-format); allowed'
    )
    assert error_of(None, {"HAYPILE_HEARTBEAT": "1"}).startswith("HAYPILE_HEARTBEAT: unknown variable; known variables")


def test_tracing_is_for_virtual_hosts_that_there_are() -> None:
    assert load(None, None, {"vhosts": "a,b", "tracing": "b"}).tracing == ("b",)
    assert (
        error_of(None, None, {"vhosts": "a", "tracing": "a,b"}) == 'tracing = ["a", "b"]: \'b\' is not among the vhosts'
    )


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none.toml") == f"cannot read the file {tmp_path}/none.toml: No such file or directory"


@pytest.mark.parametrize(
    "name",
    [
        "HAYPILE_CONFIG",
        "HAYPILE_PORT",
        "HAYPILE_PORT_5672_TCP",
        "HAYPILE_PORT_5672_TCP_ADDR",
        "HAYPILE_SERVICE_HOST",
        "HAYPILE_SERVICE_PORT_AMQP",
        "HAYPILE_METRICS_SERVICE_HOST",
        "HAYPILE_METRICS_PORT_15692_TCP_PROTO",
    ],
)
def test_variables_that_others_make_are_left_alone(name: str) -> None:
    assert load(None, {name: "tcp://10.0.0.1:5672"}) == Configuration()


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:65535", "[::1]:5672", "[fe80::1%eth0]:5672", "a.b-c:1"])
def test_addresses(address: str) -> None:
    assert load(None, None, {"listeners": address}).listeners == (address,)


@pytest.mark.parametrize(
    "address", [":5672", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:5672", "[::1]", "x:-1"]
)
def test_no_addresses(address: str) -> None:
    assert "allowed is" in error_of(None, None, {"listeners": address})


@pytest.mark.parametrize(
    "user",
    [
        {"name": "app"},
        {"name": "app", "password": SECRET, "password_hash": SECRET},
        {"name": "app", "password_hash": SECRET},
        {"name": "app", "password": [SECRET]},
        {"name": "app", "pasword": SECRET},
        {"name": "", "password": SECRET},
        {"name": "app", "password": SECRET, "permissions": [{"vhost": "/", "read": "("}]},
        {"name": "app", "password": SECRET, "permissions": [{"vhost": "/", "read": "x" * 1025}]},
        {"name": "app", "password": SECRET, "permissions": [{"vhost": "/"}, {"vhost": "/"}]},
        {"name": "guest", "password": SECRET, "permissions": [{}]},
    ],
)
def test_users_that_cannot_be_are_refused_without_their_passwords(user: dict[str, Any]) -> None:
    message = error_of(None, {"HAYPILE_USERS": json.dumps([user])})
    assert message.startswith("users = (hidden) (from environment variable HAYPILE_USERS): ")
    assert SECRET not in message


def test_two_users_of_one_name_are_refused() -> None:
    users = [{"name": "app", "password": SECRET}] * 2
    assert error_of(None, {"HAYPILE_USERS": json.dumps(users)}).endswith("'app' is there more than once")


def test_users_that_are_no_json_are_not_repeated() -> None:
    assert SECRET not in error_of(None, {"HAYPILE_USERS": SECRET})


def test_what_is_printed_is_read_again_but_for_secrets(write: Any) -> None:
    users = [{"name": 'a"\\\n', "password": SECRET, "permissions": [{"vhost": "/", "read": "\\."}]}]
    given = load(None, {"HAYPILE_USERS": json.dumps(users)}, {"listeners": "[::1]:1,x:2", "data_dir": "ü\x7f"})
    text = show(given)
    assert SECRET not in text
    assert "guest" not in text
    with_secret = text.replace("# password = (hidden)", f'password = "{SECRET}"')
    assert load(write(with_secret)) == given


def test_nothing_secret_is_in_the_representation() -> None:
    given = load(None, {"HAYPILE_USERS": json.dumps([{"name": "app", "password": SECRET}])})
    assert SECRET not in repr(given)


def test_the_example_has_every_key_with_its_default(write: Any) -> None:
    example = (DOCS / "haypile.example.toml").read_text()
    assert load(write(example)) == Configuration()
    # Comments are sentences; what is commented out has no space after the "#".
    uncommented = re.sub(r"^#(?=\S)", "", example, flags=re.MULTILINE)
    file = write(re.sub(r"^#$", "", uncommented, flags=re.MULTILINE))
    assert load(file) == Configuration()
    named = tomllib.loads(file.read_text())
    assert {key for key in DEFAULTS if not _is_there(named, key)} == set()


def _is_there(table: dict[str, Any], key: str) -> bool:
    section, _, name = key.rpartition(".")
    return name in (table.get(section, {}) if section else table)


def test_the_documentation_has_every_key_with_its_default() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| `(.+?)` \|", (DOCS / "configuration.md").read_text(), re.MULTILINE)
    expected = {key: json.dumps(default) for key, default in DEFAULTS.items() if key != "users"} | {"users": "guest"}
    assert dict(rows) == expected


def test_every_key_has_a_name_of_its_own_in_the_environment_and_in_flags() -> None:
    assert len({variable_of(key) for key in DEFAULTS}) == len({flag_of(key) for key in DEFAULTS}) == len(DEFAULTS)
    assert NOT_FLAGS == ("users",)
