"""`serve` and `engine-proxy`: the commands that run until they are stopped."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable

import coderunner
from coderunner import app, bars, logs, prepare, stopping, takeover, tracing, turns
from coderunner.cli.common import BROKEN_BOUND, FAILED, TRY_AGAIN, WRONG_SETTINGS, code_of, load
from coderunner.errors import CodeRunnerError, ConfigError

log = logging.getLogger(__name__)


def serve(arguments: argparse.Namespace) -> int:
    """Runs the server. Returns the exit code, or replaces the process by a new server (RELOAD)."""
    settings = load(arguments)
    listens: Callable[[], None] | None = None
    if arguments.background and (listens := takeover.in_background()) is None:
        return 0
    handler = logs.setup(
        settings.log_level,
        settings.log_format,  # type: ignore[arg-type]
        journal_stream=os.environ.get("JOURNAL_STREAM", ""),
    )
    logs.take_all()
    # None in the background, where the terminal is somebody else's by then.
    drawn = listens is None and settings.log_format != "json"
    lines = bars.made(sys.stderr, os.environ) if drawn else None
    if arguments.verbose:
        prepare.log.setLevel(logging.DEBUG)
    elif lines is not None and not prepare.log.isEnabledFor(logging.DEBUG):
        handler.setStream(lines)  # so that both do not write into each other
        handler.addFilter(bars.Without(prepare.log.name))
    else:
        lines = None
    tracing.begin_tracing(os.environ, settings.instance_name, coderunner.__version__)

    def announce(url: str) -> None:
        """Called once the server listens: prints its address, and releases the shell with --background."""
        if not settings.production:
            by = "Ctrl-C" if listens is None else f"kill -INT {os.getpid()}"
            print(f"\n  CodeRunner is at {url}\n  Stop it with {by}.\n", flush=True)
        if listens is not None:
            listens()  # last: then the shell has its prompt again

    try:
        with asyncio.Runner(loop_factory=turns.Loop) as runner:
            how = runner.run(app.serve(settings, announce, lines, replace=arguments.replace))
    except CodeRunnerError as error:
        if settings.log_format != "json":
            raise
        # A line as all others are, for programs that read the log.
        log.critical("cannot serve: %s", error.message)
        return WRONG_SETTINGS if isinstance(error, ConfigError) else code_of(error)
    except Exception:
        log.critical("the server failed", exc_info=True)
        return FAILED
    if how == stopping.RELOAD:
        # Without that option it stays the same process.
        words = [word for word in sys.argv[1:] if word != "--background"]
        os.execv(sys.executable, [sys.executable, "-m", "coderunner", *words])
    if how == stopping.SUSPEND:
        # Clients wait for the next server, and the interpreter's finalisation takes 0.3 s.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
    return {stopping.REFUSED: BROKEN_BOUND, stopping.ANOTHERS: TRY_AGAIN}.get(how, 0)


def engine_proxy(arguments: argparse.Namespace) -> int:
    """Runs the proxy between a server and its engine. Returns the exit code."""
    settings = load(arguments)
    logs.setup(settings.log_level, settings.log_format)  # type: ignore[arg-type]
    from coderunner.gate import run as gate

    asyncio.run(gate.run(settings, arguments.socket))
    return 0
