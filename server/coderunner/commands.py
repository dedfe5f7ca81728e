"""The command line's parsers: all commands and their options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coderunner

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]  # noqa: SLF001

MAX_ROUNDS = 1000  # of `bench`

Run = Callable[[argparse.Namespace], int]
"""A command's function; returns the exit code."""


class Parser(argparse.ArgumentParser):
    """A parser without abbreviated options: some options end sessions or remove images of other servers, and
    must not be given by accident."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(allow_abbrev=False, **fields)


def make_parser(run: Mapping[str, Run]) -> argparse.ArgumentParser:
    """Makes the parser of the command line. `run`: the commands' functions by name, such as `languages test`.

    The parsed arguments have the chosen function as their attribute `run`.
    """
    parser = Parser(prog="coderunner", description=coderunner.__doc__)
    parser.add_argument("--version", action="version", version=f"coderunner {coderunner.__version__}")
    parser.add_argument(
        "--env-file", type=Path, help="the file with settings (default: .env, where there is one)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _serving(commands, run)
    _images(commands, run)
    _upkeep(commands, run)
    _reaper(commands, run)
    _outside(commands, run)
    _languages(commands, run)
    return parser


def _serving(commands: Commands, run: Mapping[str, Run]) -> None:
    serve = commands.add_parser("serve", help="run the server")
    serve.set_defaults(run=run["serve"])

    settings = commands.add_parser("settings", help="print the settings' documentation")
    # Required, as printing one of them by default would be a guess.
    how = settings.add_mutually_exclusive_group(required=True)
    how.add_argument("--example", action="store_true", help="the text of .env.production.example")
    how.add_argument("--table", action="store_true", help="the table of docs/configuration.md")
    how.add_argument("--check", action="store_true", help="check the settings that are in force")
    settings.set_defaults(run=run["settings"])


def _images(commands: Commands, run: Mapping[str, Run]) -> None:
    images = commands.add_parser(
        "images", help="build images, renew what has security updates, prune, list, save or load them"
    )
    images.add_argument("action", choices=("build", "renew", "prune", "list", "save", "load"))
    images.add_argument("names", nargs="*", metavar="LANGUAGE")
    images.add_argument(
        "--every-instance", action="store_true", help="prune: also what other servers say that they use"
    )
    images.add_argument(
        "--file", type=Path, metavar="FILE", help="save, load: the archive; one that ends with .gz is packed"
    )
    images.set_defaults(run=run["images"])


def _upkeep(commands: Commands, run: Mapping[str, Run]) -> None:
    carried = commands.add_parser("files", help="nginx.conf, the units and others: where they are")
    carried.add_argument("name", nargs="?", default="", metavar="NAME", help="print this one")
    carried.set_defaults(run=run["files"])

    proxy = commands.add_parser(
        "engine-proxy", help="a socket that passes on to the engine only a server's own calls"
    )
    proxy.add_argument("socket", type=Path, metavar="SOCKET", help="where it listens")
    proxy.set_defaults(run=run["engine-proxy"])

    upgrade = commands.add_parser(
        "upgrade-check", help="what this version would do to a server of before: sessions, images, units"
    )
    upgrade.set_defaults(run=run["upgrade-check"])

    doctor = commands.add_parser(
        "doctor", help="look at machine, engine, settings, images and server, and say what mends each"
    )
    doctor.add_argument("--url", default="", help="also as users reach it: a session is opened there")
    doctor.add_argument("--bearer", default="", metavar="KEY", help="the credential to show there")
    doctor.add_argument(
        "--idle", type=float, default=25.0, metavar="SECONDS", help="how long it is left alone (default: 25)"
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.set_defaults(run=run["doctor"])


def _reaper(commands: Commands, run: Mapping[str, Run]) -> None:
    reaper = commands.add_parser(
        "reap", help="remove what is over: containers past their deadline, networks without members"
    )
    which = reaper.add_mutually_exclusive_group()
    which.add_argument(
        "--every-instance", action="store_true", help="containers of all instances, whatever their names"
    )
    which.add_argument(
        "--lost-key",
        action="store_true",
        help="also what is in time, of this INSTANCE_NAME, and was made with a key that is lost: it ends"
        " those sessions; nothing where a server that runs has some of them",
    )
    which.add_argument(
        "--all",
        action="store_true",
        help="end every session of this INSTANCE_NAME, whose server has stopped: all containers and networks,"
        " and the host's rules for groups where none is left",
    )
    reaper.set_defaults(run=run["reap"])


def _outside(commands: Commands, run: Mapping[str, Run]) -> None:
    attack = commands.add_parser("attack", help="attack a server of your own, and see what comes of it")
    attack.add_argument("names", nargs="*", metavar="NAME", help="cases or groups, as fork* (default: all)")
    attack.add_argument("--url", default="", help="where it is (default: PORT on this machine)")
    attack.add_argument("--bearer", default="", metavar="KEY", help="the credential to show")
    attack.add_argument("--list", action="store_true", help="print the cases and attack nothing")
    attack.set_defaults(run=run["attack"])

    bench = commands.add_parser("bench", help="measure what a client of a running server waits for")
    bench.add_argument("--url", default="", help="where it is (default: PORT on this machine)")
    bench.add_argument("--bearer", default="", metavar="KEY", help="the credential to show")
    bench.add_argument(
        "--rounds", type=int, default=10, choices=range(1, MAX_ROUNDS + 1), metavar="COUNT",
        help=f"how often each figure is taken, up to {MAX_ROUNDS} (default: 10)",
    )  # fmt: skip
    bench.add_argument("--save", type=Path, metavar="FILE", help="write the figures there, as a baseline")
    bench.add_argument(
        "--baseline", type=Path, metavar="FILE", help="compare with what --save wrote; 1 where one is worse"
    )
    bench.set_defaults(run=run["bench"])


def _languages(commands: Commands, run: Mapping[str, Run]) -> None:
    languages = commands.add_parser("languages", help="the languages: list them, or run their samples")
    actions = languages.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="name, version and title of each")
    listing.set_defaults(run=run["languages list"])
    table = actions.add_parser("table", help="the table of docs/languages.md, of the images that are here")
    table.set_defaults(run=run["languages table"])
    test = actions.add_parser("test", help="run their samples on a running server, and compare")
    test.add_argument("names", nargs="*", metavar="NAME", help="languages (default: all that the server has)")
    test.add_argument("--url", default="", help="where it is (default: PORT on this machine)")
    test.add_argument("--bearer", default="", metavar="KEY", help="the credential to show")
    test.set_defaults(run=run["languages test"])
