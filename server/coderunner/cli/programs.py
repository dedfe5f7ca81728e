"""Commands that use a running server: `run` and its like, the operator's, `mcp`, `attack`, `bench`."""

from __future__ import annotations

import argparse
import os

from coderunner.cli.common import choose, load, server_of
from coderunner.client.kept import Kept, Store
from coderunner.errors import CodeRunnerError
from coderunner.schema.forms import UNIX


class WrongWords(CodeRunnerError):
    """The words of a command contradict each other."""


def remote(arguments: argparse.Namespace) -> int:
    """`run`, `shell`, `attach`, `watch`, `cp`, `batch`, `login`. Returns the exit code."""
    from coderunner.client import remote as client

    store = arguments.store = Store(os.environ)
    if arguments.command == "login" and arguments.forget:
        store.log_out()
        return 0
    try:
        arguments.kept = _kept(arguments, store)
        choose(arguments, store if arguments.command != "login" else None)
    except WrongWords as error:
        return client.refuse(error.message, client.WRONG_USE)
    except CodeRunnerError as error:
        return client.refuse(error.message, client.FAILED)
    return client.main(arguments, server_of(arguments))


def _kept(arguments: argparse.Namespace, store: Store) -> Kept | None:
    """The stored session that a command is for; None for a command that opens one. Its server becomes
    `arguments.url` unless that is given. Raises CodeRunnerError."""
    if arguments.command == "cp":
        sides = [side for side in (arguments.source, arguments.target) if ":" in side]
        if len(sides) != 1:
            raise WrongWords("one of the two is to be in a session, as SESSION:PATH")
        name, _, arguments.inner = sides[0].partition(":")
        arguments.up = sides[0] is arguments.target
    elif arguments.command in ("attach", "watch"):
        name = arguments.session
    else:
        return None
    if arguments.token:
        return Kept(name, arguments.token, arguments.url)
    kept = store.find(name)
    if kept is None:
        raise CodeRunnerError(f"there is no session {name} of this user, or more than one; give its whole id")
    arguments.url = arguments.url or kept.url
    return kept


def operator(arguments: argparse.Namespace) -> int:
    """`ps`, `kill`, `notice`, `drain`, `resume`, `report`, `loadtest`. Returns the exit code."""
    from coderunner.client import operate

    # Without an address they are for this machine's server, whatever `login` has chosen for programs.
    named = arguments.url or os.environ.get("CODERUNNER_URL")
    choose(arguments, Store(os.environ) if named else None)
    if not arguments.url and not arguments.bearer:  # this machine's server, whose settings are here
        arguments.bearer = load(arguments).admin_key or ""
    return operate.main(arguments, server_of(arguments), arguments.bearer)


def mcp(arguments: argparse.Namespace) -> int:
    """Serves agents by the Model Context Protocol. Returns the exit code; raises CodeRunnerError for options
    that exclude each other."""
    _, _, port = arguments.listen.rpartition(":")
    numbered = port.isascii() and port.isdigit() and int(port) < 65536
    if arguments.of_server and not arguments.listen.startswith(UNIX):
        raise CodeRunnerError("--of-server needs --listen unix:PATH")
    if arguments.listen and not (numbered or arguments.of_server):
        raise CodeRunnerError(f"--listen {arguments.listen} must be an address and a port: 127.0.0.1:3001")
    if arguments.listen and arguments.bearer:  # whoever reaches it would have what this key allows
        raise CodeRunnerError("with --listen each caller sends a credential of its own: leave --bearer out")
    try:
        from coderunner.mcp import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("coderunner"):
            raise
        raise CodeRunnerError(
            f"the library {error.name} is not installed: pip install 'coderunner[mcp]'"
        ) from None
    choose(arguments, Store(os.environ))
    if arguments.listen:  # callers bring their own
        arguments.bearer = ""
    return serve.main(arguments, server_of(arguments))


def attack(arguments: argparse.Namespace) -> int:
    """Runs the attack suite. Returns the exit code; raises CodeRunnerError."""
    from coderunner.attack import run as attacks

    if server_of(arguments).startswith(UNIX):
        raise CodeRunnerError("attacks need a network address; give the address of the proxy with --url")
    url, bearer, names = server_of(arguments), arguments.bearer, arguments.names
    slowness = arguments.slowness
    if not arguments.make_keys or arguments.list:
        return attacks.main(url, bearer, names, listing=arguments.list, slowness=slowness)
    from coderunner import lending

    with lending.lent(load(arguments)) as means:
        return attacks.main(url, bearer, names, means=means, slowness=slowness)


def bench(arguments: argparse.Namespace) -> int:
    """Measures a server. Returns the exit code; raises CodeRunnerError."""
    from coderunner.bench import run as measured

    return measured.main(
        server_of(arguments), arguments.bearer, arguments.rounds, arguments.save, arguments.baseline
    )
