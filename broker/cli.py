"""The command line: ``haypile [--config FILE] [--KEY VALUE ...]`` and ``haypile journal TOOL DIR``."""

from __future__ import annotations

import argparse
import os
import sys
from enum import IntEnum
from pathlib import Path
from typing import NoReturn

from broker.configuration import NOT_FLAGS, Configuration, ConfigurationError, flag_of, keys, load, show
from broker.version import VERSION


class ExitCode(IntEnum):
    """What the process leaves with when it cannot start; 0 is the end that was asked for."""

    FAILURE = 1
    CONFIGURATION = 2
    PORT_IN_USE = 3
    DIRECTORY_LOCKED = 4
    JOURNAL_UNREADABLE = 5
    JOURNAL_TOO_NEW = 6
    EXTENSION = 7


def main(arguments: list[str] | None = None) -> None:
    """Run the broker until it is told to stop. Leaves with an ``ExitCode``, and a reason on one line, if it cannot."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["journal"]:
        from broker import journal_tools

        sys.exit(journal_tools.main(words[1:]))
    parsed = vars(_parser().parse_args(arguments))
    file = parsed.pop("config") or os.environ.get("HAYPILE_CONFIG")
    print_only = parsed.pop("print_config")
    flags = {key: value for key, value in parsed.items() if value is not None}
    try:
        configuration = load(Path(file) if file else None, os.environ, flags)
    except ConfigurationError as error:
        _leave(ExitCode.CONFIGURATION, f"bad configuration: {error}")
    if print_only:
        sys.stdout.write(show(configuration))
    else:
        _run(configuration)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="haypile",
        description="A message broker that speaks AMQP 0-9-1 as RabbitMQ does.",
        epilog="Each flag is also a key of the configuration file and an environment variable, e.g. heartbeat_s and "
        "HAYPILE_HEARTBEAT_S. Users are set there only: flags can be read by everybody on the machine. "
        "'haypile journal --help' tells of the tools for journals.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"haypile {VERSION}")
    parser.add_argument("--config", metavar="FILE", help="TOML file to read (or HAYPILE_CONFIG)")
    parser.add_argument("--print-config", action="store_true", help="print the resulting configuration and leave")
    for key, _, default in keys():
        if key not in NOT_FLAGS:
            parser.add_argument(flag_of(key), dest=key, metavar="VALUE", help=f"(default: {_shown(default)})")
    return parser


def _shown(default: object) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default).replace("%", "%%")


def _run(configuration: Configuration) -> None:
    # Imported only now, so that --help, --print-config and a bad configuration are answered at once.
    import uvloop

    from broker import logs
    from broker.extensions import ExtensionError
    from broker.listener import PortInUseError
    from broker.server import Broker
    from storage.errors import DirectoryLocked, FormatTooNew, JournalError

    logs.configure(configuration.log.level, configuration.log.format)
    try:
        uvloop.run(Broker(configuration).run())
    except ConfigurationError as error:
        _leave(ExitCode.CONFIGURATION, f"bad configuration: {error}")
    except PortInUseError as error:
        _leave(ExitCode.PORT_IN_USE, str(error))
    except ExtensionError as error:
        _leave(ExitCode.EXTENSION, str(error))
    except DirectoryLocked as error:
        _leave(ExitCode.DIRECTORY_LOCKED, str(error))
    except FormatTooNew as error:
        _leave(ExitCode.JOURNAL_TOO_NEW, str(error))
    except JournalError as error:
        _leave(ExitCode.JOURNAL_UNREADABLE, str(error))
    except OSError as error:
        _leave(ExitCode.FAILURE, f"cannot start: {error}")


def _leave(code: ExitCode, reason: str) -> NoReturn:
    sys.stderr.write(f"haypile: {reason}\n")
    sys.exit(code)
