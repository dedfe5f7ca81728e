"""The parsers of the command line: all commands and their options."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coderunner

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]  # noqa: SLF001

MAX_ROUNDS = 1000  # of `bench`
MAX_SLOWNESS = 100  # of `attack`

Run = Callable[[argparse.Namespace], int]
"""A command's function; returns the exit code."""


class Parser(argparse.ArgumentParser):
    """A parser without abbreviated options: some options end sessions or remove the images of other servers,
    and must not be given by accident."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(allow_abbrev=False, **fields)


def make_parser(run: Mapping[str, Run]) -> argparse.ArgumentParser:
    """Makes the parser of the command line. `run`: the commands' functions by name, such as `languages test`.

    The parsed arguments have the chosen function as their attribute `run`.
    """
    parser = Parser(prog="coderunner", description=coderunner.__doc__)
    parser.add_argument("--version", action="version", version=f"coderunner {coderunner.__version__}")
    parser.add_argument("--env-file", type=Path, help="file with the settings (default: .env, if it exists)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _serving(commands, run)
    _remote(commands, run)
    _agents(commands, run)
    _operator(commands, run)
    _images(commands, run)
    _upkeep(commands, run)
    _keys(commands, run)
    _reaper(commands, run)
    _outside(commands, run)
    _languages(commands, run)
    _records(commands, run)
    return parser


def _serving(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds `serve` and `settings`."""
    serve = commands.add_parser("serve", help="run the server")
    serve.add_argument(
        "--replace",
        action="store_true",
        help="take the place of the server that runs with the same STATE_DIR; its sessions continue",
    )
    serve.add_argument(
        "--background",
        action="store_true",
        help="return once the server listens, which then runs on by itself",
    )
    _verbose(serve)
    serve.set_defaults(run=run["serve"])

    settings = commands.add_parser("settings", help="print the settings' documentation, or check them")
    # Required, as printing one of them by default would be a guess.
    how = settings.add_mutually_exclusive_group(required=True)
    how.add_argument("--example", action="store_true", help="print the text of .env.production.example")
    how.add_argument("--table", action="store_true", help="print the table of docs/configuration.md")
    how.add_argument("--check", action="store_true", help="check the settings that `serve` would use")
    settings.set_defaults(run=run["settings"])


def _factor(text: str) -> float:
    """The number of `--slowness`. Raises ArgumentTypeError."""
    with contextlib.suppress(ValueError):
        if 1 <= (number := float(text)) <= MAX_SLOWNESS:
            return number
    raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to {MAX_SLOWNESS}")


def _verbose(parser: argparse.ArgumentParser) -> None:
    """Adds the option `--verbose`."""
    words = "show each step of builds, and what package managers print"
    parser.add_argument("-v", "--verbose", action="store_true", help=words)


def _remote(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds the commands that run programs on a server: `run`, `shell` and others."""
    one = commands.add_parser(
        "run",
        help="run a program on a server; the exit code is the program's",
        usage="%(prog)s [--language NAME] [--stdin FILE] [--json] [--url URL] FILE... [-- ARGS...]",
    )
    one.add_argument("files", nargs="+", metavar="FILE", help="the program, and what it needs; - for stdin")
    one.add_argument("--stdin", type=Path, metavar="FILE", help="its standard input (default: this one's)")
    one.add_argument("--json", action="store_true", help="print the answer of POST /api/run")
    one.set_defaults(run=run["run"], command="run", args=[])

    shell = commands.add_parser(
        "shell", help="a shell in a container of a server; ~. on a new line ends it, ~d leaves it"
    )
    shell.add_argument("named", nargs="?", metavar="LANGUAGE", help="as --language (default: the first one)")
    shell.add_argument("--repl", action="store_true", help="the language's own prompt instead")
    shell.set_defaults(run=run["shell"], command="shell")
    for parser in (one, shell):
        parser.add_argument("--language", metavar="NAME", help="a language of the server")
    for parser in (one, shell, *_sessions(commands, run), _batch(commands, run)):
        parser.add_argument(
            "--url", default="", help="where it is (default: CODERUNNER_URL, that of login, or PORT here)"
        )
        parser.add_argument("--bearer", default="", metavar="KEY", help="the credential to show")
    _login(commands, run)


def _sessions(commands: Commands, run: Mapping[str, Run]) -> list[Parser]:
    """Adds `attach`, `watch` and `cp`, and returns their parsers."""
    attach = commands.add_parser("attach", help="go on with a shell that was left by ~d on a new line")
    watch = commands.add_parser("watch", help="watch a shell or program; q stops watching")
    copy = commands.add_parser("cp", help="copy files or folders to or from a session, as SESSION:PATH")
    for name, parser in (("attach", attach), ("watch", watch)):
        parser.add_argument("session", metavar="SESSION", help="its id, or the beginning of it")
        parser.set_defaults(run=run[name], command=name)
    copy.add_argument("source", metavar="SOURCE")
    copy.add_argument("target", metavar="TARGET")
    copy.set_defaults(run=run["cp"], command="cp")
    for parser in (attach, watch, copy):
        parser.add_argument("--token", default="", help="of a session that no command of this user began")
    return [attach, watch, copy]


def _batch(commands: Commands, run: Mapping[str, Run]) -> Parser:
    """Adds `batch`, and returns its parser."""
    batch = commands.add_parser("batch", help="judge a program by many inputs; 0 if all passed, 1 if not")
    batch.add_argument("file", type=Path, metavar="FILE", help="the request of POST /api/batch; - for stdin")
    batch.add_argument("--json", action="store_true", help="print the answer as JSON")
    batch.set_defaults(run=run["batch"], command="batch")
    return batch


def _login(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds `login` and `completion`."""
    login = commands.add_parser("login", help="keep a server and a key, which the other commands then use")
    login.add_argument("url", nargs="?", default="", metavar="URL", help="the server")
    login.add_argument("--bearer", default="", metavar="KEY", help="the key (default: it is asked for)")
    login.add_argument(
        "--plain-http", action="store_true", help="send the key over plain HTTP to another machine"
    )
    login.add_argument("--forget", action="store_true", help="forget the server and the key")
    login.set_defaults(run=run["login"], command="login")

    completion = commands.add_parser("completion", help="print what completes these commands in a shell")
    # The shells that shtab knows.
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    completion.set_defaults(run=run["completion"])


def _server(parser: argparse.ArgumentParser) -> None:
    """Adds the options that name a server and a credential."""
    parser.add_argument(
        "--url", default="", help="where it is (default: CODERUNNER_URL, or PORT on this machine)"
    )
    parser.add_argument("--bearer", default="", metavar="KEY", help="the credential to show")


def _agents(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds `mcp`."""
    agents = commands.add_parser(
        "mcp", help="offer sessions of a server to agents as tools (Model Context Protocol)"
    )
    _server(agents)
    agents.add_argument("--page", default="", metavar="URL", help="where people open it (default: --url)")
    agents.add_argument(
        "--listen", default="", metavar="HOST:PORT",
        help="serve /mcp there by HTTP, with each caller's own credential"
        " (default: standard input and output)",
    )  # fmt: skip
    agents.add_argument(
        "--of-server", action="store_true",
        help="for the process that a server with MCP=on starts: --listen unix:PATH; ends with standard input",
    )  # fmt: skip
    agents.add_argument(
        "--allow-host", action="append", default=[], metavar="HOST",
        help="a name by which it may be asked for, with its port unless that is usual; may be repeated",
    )  # fmt: skip
    agents.add_argument(
        "--allow-origin", action="append", default=[], metavar="ORIGIN",
        help="an origin whose pages may use it; may be repeated",
    )  # fmt: skip
    agents.set_defaults(run=run["mcp"])


def _operator(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds the operator's commands: `ps`, `kill`, `notice`, `drain`, `resume`, `report`, `loadtest`."""
    added = [commands.add_parser("ps", help="list the live sessions of a server, and what they use")]

    kill = commands.add_parser("kill", help="end a session of a server; its users are told the reason")
    kill.add_argument("session", metavar="SESSION", help="its id, as `coderunner ps` shows it")
    kill.add_argument("--reason", default="no reason given", metavar="TEXT", help="what its users are told")
    added.append(kill)

    notice = commands.add_parser("notice", help="show a text to the users of a session")
    notice.add_argument("session", metavar="SESSION", help="its id, as `coderunner ps` shows it")
    notice.add_argument("text", nargs="+", metavar="TEXT", help="the words")
    added.append(notice)

    added.append(commands.add_parser("drain", help="take no new sessions; the live ones go on"))
    added.append(commands.add_parser("resume", help="take new sessions again"))

    # The ranges of `report` and `loadtest` are those of the server (`schema.admin`), so that a wrong number
    # is refused without a request.
    report = commands.add_parser("report", help="print what a server did each day, as CSV")
    report.add_argument(
        "--days", type=int, default=7, choices=range(1, 63), metavar="COUNT",
        help="how many, with today (default: 7)",
    )  # fmt: skip
    added.append(report)

    load = commands.add_parser("loadtest", help="have a server test itself under load, and print its report")
    load.add_argument(
        "--sessions", type=int, default=5, choices=range(1, 51), metavar="COUNT",
        help="at one time, up to 50 (default: 5)",
    )  # fmt: skip
    load.add_argument(
        "--seconds", type=int, default=30, choices=range(1, 301), metavar="COUNT",
        help="after which no session is opened, up to 300 (default: 30)",
    )  # fmt: skip
    load.add_argument("--language", default="python", metavar="NAME", help="a language of the server")
    added.append(load)

    for parser in added:
        name = parser.prog.split()[-1]
        parser.set_defaults(run=run[name], command=name)
        parser.add_argument("--json", action="store_true", help="print the answer as JSON")
        parser.add_argument(
            "--url", default="", help="where the server is (default: CODERUNNER_URL, or PORT on this machine)"
        )
        parser.add_argument(
            "--bearer", default="", metavar="KEY",
            help="the operator's key; better in CODERUNNER_KEY, as others can see a command's arguments"
            " (default: ADMIN_KEY of the settings, for the server on this machine)",
        )  # fmt: skip


def _images(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds `images`."""
    images = commands.add_parser(
        "images", help="build, update, remove, list, save or load the languages' images"
    )
    images.add_argument(
        "action",
        choices=("build", "renew", "prune", "list", "save", "load"),
        help="build: build missing images; renew: rebuild images that have security updates;"
        " prune: remove images that no server uses; list: show which images exist;"
        " save, load: write them to an archive, or read them from one",
    )
    images.add_argument("names", nargs="*", metavar="LANGUAGE", help="languages (default: all of LANGUAGES)")
    images.add_argument(
        "--every-instance",
        action="store_true",
        help="prune: also remove images that other servers have recorded as in use",
    )
    images.add_argument(
        "--file", type=Path, metavar="FILE",
        help="save, load: the archive; compressed if its name ends with .gz",
    )  # fmt: skip
    _verbose(images)
    images.set_defaults(run=run["images"])


def _upkeep(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds `files`, `engine-proxy`, `upgrade-check` and `doctor`."""
    carried = commands.add_parser("files", help="list the paths of nginx.conf, the systemd units and others")
    carried.add_argument("name", nargs="?", default="", metavar="NAME", help="print the content of this file")
    carried.set_defaults(run=run["files"])

    proxy = commands.add_parser(
        "engine-proxy", help="run a proxy to the engine that allows only the API calls that a server needs"
    )
    proxy.add_argument("socket", type=Path, metavar="SOCKET", help="path of the Unix socket to listen on")
    proxy.set_defaults(run=run["engine-proxy"])

    upgrade = commands.add_parser(
        "upgrade-check",
        help="show what an upgrade to this version would do to sessions, images and units; changes nothing",
    )
    upgrade.set_defaults(run=run["upgrade-check"])

    doctor = commands.add_parser(
        "doctor", help="check machine, engine, settings, images and server, and say how to fix each problem"
    )
    doctor.add_argument("--url", default="", help="public address to check as well; opens a session there")
    doctor.add_argument("--bearer", default="", metavar="KEY", help="bearer token for that address")
    doctor.add_argument(
        "--idle", type=float, default=25.0, metavar="SECONDS",
        help="how long that session is kept idle, to find time-outs of proxies (default: 25)",
    )  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.set_defaults(run=run["doctor"])


def _keys(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds `keys`."""
    keys = commands.add_parser("keys", help="make, list or revoke API keys (docs/identity.md)")
    actions = keys.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="make a key, and print it; it is stored nowhere")
    add.add_argument("name", metavar="NAME", help="whose it is, for lists and logs")
    add.add_argument(
        "--role", action="append", default=[], choices=("teacher", "operator"), help="may be repeated"
    )
    add.add_argument("--room", action="append", default=[], metavar="ROOM", help="may be repeated")
    add.add_argument(
        "--scope", action="append", default=[], choices=("session", "run", "metrics", "operate"),
        help="only this of what its roles allow; may be repeated",
    )  # fmt: skip
    add.add_argument("--days", type=float, default=None, metavar="DAYS", help="until it expires")
    listing = actions.add_parser("list", help="print all keys, without their secrets")
    listing.add_argument("--json", action="store_true", help="print JSON")
    revoke = actions.add_parser("revoke", help="revoke a key; a running server knows within 5 s")
    revoke.add_argument("key", metavar="KEY", help="its id or name")
    for name, action in (("add", add), ("list", listing), ("revoke", revoke)):
        action.set_defaults(run=run["keys"], action=name)


def _reaper(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds `reap`."""
    reaper = commands.add_parser(
        "reap", help="remove leftovers: containers past their deadline, networks without members"
    )
    which = reaper.add_mutually_exclusive_group()
    which.add_argument(
        "--every-instance", action="store_true", help="also for the containers of all other instances"
    )
    which.add_argument(
        "--lost-key",
        action="store_true",
        help="also remove containers of this INSTANCE_NAME that were made with a key that is lost, which ends"
        " their sessions; does nothing if a running server has any of them",
    )
    which.add_argument(
        "--all",
        action="store_true",
        help="remove all containers and networks of this INSTANCE_NAME, whose server must have stopped, and"
        " the host's firewall rules if no group of another server needs them",
    )
    reaper.set_defaults(run=run["reap"])


def _outside(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds the commands that test a running server: `attack` and `bench`."""
    attack = commands.add_parser("attack", help="attack a server of your own, and check that it withstands")
    attack.add_argument(
        "names", nargs="*", metavar="NAME", help="cases, groups or patterns such as fork* (default: all)"
    )
    attack.add_argument("--url", default="", help="address of the server (default: PORT on this machine)")
    attack.add_argument("--bearer", default="", metavar="KEY", help="bearer token for the server")
    attack.add_argument(
        "--make-keys",
        action="store_true",
        help="make keys of several roles in the database of the settings, for the cases that need them, and"
        " revoke them at the end",
    )
    attack.add_argument(
        "--slowness",
        type=_factor,
        default=1.0,
        metavar="FACTOR",
        help="how many times longer the cases and their programs may take, for a slow server such as an"
        f" emulated one: 1 to {MAX_SLOWNESS} (default: 1)",
    )
    attack.add_argument("--list", action="store_true", help="list the cases without running them")
    attack.set_defaults(run=run["attack"])

    bench = commands.add_parser("bench", help="measure the latencies of a running server for its clients")
    bench.add_argument("--url", default="", help="address of the server (default: PORT on this machine)")
    bench.add_argument("--bearer", default="", metavar="KEY", help="bearer token for the server")
    bench.add_argument(
        "--rounds", type=int, default=10, choices=range(1, MAX_ROUNDS + 1), metavar="COUNT",
        help=f"number of measurements for each figure, up to {MAX_ROUNDS} (default: 10)",
    )  # fmt: skip
    bench.add_argument("--save", type=Path, metavar="FILE", help="write the figures to this file")
    bench.add_argument(
        "--baseline", type=Path, metavar="FILE",
        help="compare with a file that --save wrote; the exit code is 1 if a figure is worse",
    )  # fmt: skip
    bench.set_defaults(run=run["bench"])


def _languages(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds `languages`."""
    languages = commands.add_parser("languages", help="list the languages, or run their samples")
    actions = languages.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="print the name, version and title of each language")
    listing.set_defaults(run=run["languages list"])
    table = actions.add_parser("table", help="print the table of docs/languages.md for the images that exist")
    table.set_defaults(run=run["languages table"])
    sizes = actions.add_parser("sizes", help="print languages/sizes.toml for the images that exist")
    sizes.set_defaults(run=run["languages sizes"])
    test = actions.add_parser("test", help="run the samples on a running server, and compare their output")
    test.add_argument("names", nargs="*", metavar="NAME", help="languages (default: all that the server has)")
    test.add_argument("--url", default="", help="address of the server (default: PORT on this machine)")
    test.add_argument("--bearer", default="", metavar="KEY", help="bearer token for the server")
    test.set_defaults(run=run["languages test"])


def _records(commands: Commands, run: Mapping[str, Run]) -> None:
    """Adds `db` and `audit`."""
    db = commands.add_parser("db", help="check the database's tables, or bring them up to date")
    db.add_argument(
        "action",
        choices=("check", "upgrade"),
        help="check: the exit code is 1 if they are not up to date; upgrade: as the server does at its start",
    )
    db.set_defaults(run=run["db"])

    audit = commands.add_parser("audit", help="export the audit log; export or erase a caller's data")
    actions = audit.add_subparsers(required=True, metavar="ACTION")
    export = actions.add_parser("export", help="print the audit log")
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="(default: jsonl)")
    export.add_argument("--since", default="", metavar="TIME", help="from this date or time (UTC) on")
    export.add_argument("--until", default="", metavar="TIME", help="before this date or time (UTC)")
    export.add_argument("--principal", default="", metavar="NAME", help="events of this caller only")
    export.set_defaults(run=run["audit"], action="export")
    for action, text in (
        ("export-person", "print everything that is kept of a caller, as JSON"),
        ("erase", "remove everything that is kept of a caller"),
    ):
        person = actions.add_parser(action, help=text)
        person.add_argument("--principal", required=True, metavar="NAME", help="the caller")
        person.set_defaults(run=run["audit"], action=action)
