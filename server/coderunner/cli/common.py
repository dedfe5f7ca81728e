"""What several commands need: exit codes, the settings, the address of the server."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from coderunner import config, declarations
from coderunner.config import Settings
from coderunner.config.envfile import nearest
from coderunner.errors import CannotStart, CodeRunnerError, UnsupportedEngine
from coderunner.schema.forms import UNIX

if TYPE_CHECKING:
    from coderunner.client.kept import Store
    from coderunner.engine.images import ImageBuilder

# Exit codes. The unit in deploy/ restarts the server after all but WRONG_SETTINGS and BROKEN_BOUND: with
# these the next start would fail in the same way.
FAILED, WRONG_SETTINGS, BROKEN_BOUND, TRY_AGAIN = 1, 2, 3, os.EX_TEMPFAIL
INTERRUPTED = 128 + signal.SIGINT  # as shells report a death by SIGINT


def code_of(error: CodeRunnerError) -> int:
    """The exit code of a command that ended with this error."""
    if isinstance(error, UnsupportedEngine):
        return BROKEN_BOUND
    return TRY_AGAIN if isinstance(error, CannotStart) else FAILED


def load(arguments: argparse.Namespace) -> Settings:
    """Reads the settings. The file of --env-file must exist, the default one need not. Raises ConfigError."""
    file = env_file(arguments)
    text = config.read(file) if file is not None else None
    return config.load(os.environ, text, file=str(file or config.ENV_FILE), languages=declarations.names())


def env_file(arguments: argparse.Namespace) -> Path | None:
    """The path of the file with the settings; None if none was named and the default one does not exist."""
    usual = Path(config.ENV_FILE)
    # `lexists`: a dangling link must be reported, and not treated as if there were no file.
    return arguments.env_file or (usual if os.path.lexists(usual) else None)


def named(arguments: argparse.Namespace) -> list[str]:
    """The languages named on the command line. Raises CodeRunnerError for an unknown one."""
    known = declarations.names()
    for name in arguments.names:
        if name not in known:
            near = nearest(name, known, 0.5)
            hint = f"did you mean {near}?" if near else f"the languages are {', '.join(known)}"
            raise CodeRunnerError(f"there is no language {name}; {hint}")
    return list(arguments.names)


def server_of(arguments: argparse.Namespace, *, own: bool = False) -> str:
    """The server's address: `unix:` and a path, or a URL that ends with a slash. From --url; without it, or
    with `own`, from the settings. Raises ConfigError."""
    if arguments.url and not own:
        return str(arguments.url)
    settings = load(arguments)
    if settings.host.startswith(UNIX):
        return settings.host
    # A server that listens on all addresses is reached over loopback.
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/"


def builder_of(settings: Settings, folder: Path, *, output: bool = False) -> ImageBuilder:
    """The builder of the languages' images. `folder`: with the languages; `output`: report all output of a
    build."""
    from coderunner.engine.images import ImageBuilder  # here: many commands need no SDK

    uids = range(settings.session_uid_base, settings.session_uid_base + settings.session_uid_count)
    return ImageBuilder(settings.docker_host, folder, uids, output=output)


def choose(arguments: argparse.Namespace, store: Store | None) -> None:
    """Sets the address and the key in `arguments`. `store`: where `login` has stored them; None to ignore
    that. Raises CodeRunnerError."""
    from coderunner.client.credential import chosen
    from coderunner.client.refused import printable

    try:
        login = store.login() if store else None
    except (OSError, ValueError) as error:
        raise CodeRunnerError(f"{store and store.login_file} cannot be used: {error}; log in again") from None
    arguments.url, arguments.bearer, warning = chosen(arguments.url, arguments.bearer, os.environ, login)
    if warning:
        print(f"coderunner: {printable(warning)}", file=sys.stderr)
