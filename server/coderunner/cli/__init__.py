"""The command line. The only modules that read the process environment."""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from coderunner import logs
from coderunner.cli.common import BROKEN_BOUND, FAILED, INTERRUPTED, TRY_AGAIN, WRONG_SETTINGS, code_of
from coderunner.cli.parser import Run, make_parser
from coderunner.errors import CodeRunnerError, ConfigError, EngineTimeout

__all__ = ["BROKEN_BOUND", "COMMANDS", "FAILED", "TRY_AGAIN", "WRONG_SETTINGS", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command, and returns the exit code. `argv`: the arguments without the program's name; None:
    sys.argv."""
    words = list(sys.argv[1:] if argv is None else argv)
    behind: list[str] = []
    if "run" in words and "--" in words[words.index("run") :]:  # argparse would take these for files
        end = words.index("--", words.index("run"))
        words, behind = words[:end], words[end + 1 :]
    arguments = make_parser(COMMANDS).parse_args(words)
    if behind:
        arguments.args = behind
    try:
        result: int = arguments.run(arguments)
        if sys.stdout is not None:  # there is none where it was closed before
            sys.stdout.flush()
        return result
    except ConfigError as error:
        _say("coderunner: the settings are wrong:", *(f"  {problem}" for problem in error.problems))
        return WRONG_SETTINGS
    except CodeRunnerError as error:
        late = isinstance(error, EngineTimeout)
        _say(f"coderunner: {error.message}{'; see `journalctl -u docker`' if late else ''}")
        return code_of(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has ended. Python flushes standard output at exit,
        # which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _say(*lines: str) -> None:
    """Prints error messages on standard error; for the journal with the priority of an error."""
    in_journal = logs.is_journal(sys.stderr, os.environ.get("JOURNAL_STREAM", ""))
    before = f"<{logs.priority(logging.ERROR)}>" if in_journal else ""
    for line in "\n".join(lines).splitlines():
        print(before + line, file=sys.stderr)


def _completion(arguments: argparse.Namespace) -> int:
    """`completion`: prints a script that completes the commands in a shell. Returns the exit code."""
    import shtab  # here, as no other command needs it

    print(shtab.complete(make_parser(COMMANDS), shell=arguments.shell))
    return 0


def _in(module: str, name: str) -> Run:
    """A command's function, whose module is imported only when the command runs: `run` needs nothing of the
    server."""

    def run(arguments: argparse.Namespace) -> int:
        """Imports the module, and runs the command."""
        # Modules allocate much and free little: without collections they load faster, and during a restart
        # clients wait for the server.
        gc.disable()
        try:
            found: Run = getattr(importlib.import_module(f"coderunner.cli.{module}"), name)
        finally:
            gc.enable()
        return found(arguments)

    return run


REMOTE = ("run", "shell", "attach", "watch", "cp", "batch", "login")
OPERATOR = ("ps", "kill", "notice", "drain", "resume", "report", "loadtest")
COMMANDS: dict[str, Run] = {
    "serve": _in("serving", "serve"),
    "engine-proxy": _in("serving", "engine_proxy"),
    **dict.fromkeys(REMOTE, _in("programs", "remote")),
    **dict.fromkeys(OPERATOR, _in("programs", "operator")),
    "mcp": _in("programs", "mcp"),
    "attack": _in("programs", "attack"),
    "bench": _in("programs", "bench"),
    "completion": _completion,
    "settings": _in("settings", "settings"),
    "doctor": _in("settings", "doctor"),
    "upgrade-check": _in("settings", "upgrade_check"),
    "files": _in("settings", "files"),
    "images": _in("images", "images"),
    "languages list": _in("images", "list_languages"),
    "languages table": _in("images", "language_table"),
    "languages sizes": _in("images", "language_sizes"),
    "languages test": _in("images", "test_languages"),
    "reap": _in("reap", "reap"),
    "db": _in("records", "db"),
    "audit": _in("records", "audit"),
    "keys": _in("records", "keys"),
}
"""The commands' functions by name."""
