"""`settings`, `doctor`, `upgrade-check` and `files`: checks and documents of an installation."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from coderunner import config, declarations, here, places
from coderunner.cli.common import FAILED, env_file, load, server_of
from coderunner.config import Settings
from coderunner.errors import CodeRunnerError, ConfigError
from coderunner.schema.forms import UNIX


def settings(arguments: argparse.Namespace) -> int:
    """Checks the settings, or prints their documents. Returns the exit code; raises ConfigError."""
    if arguments.check:
        found = load(arguments)
        problems = asyncio.run(here.problems(found))
        if problems:
            raise ConfigError(problems)
        print("The settings are valid.")
        print(_checked(found, env_file(arguments)))
    else:
        print(config.example_text() if arguments.example else config.settings_table(), end="")
    return 0


def _checked(settings: Settings, file: Path | None) -> str:
    """A summary of where the settings come from and the most important ones, to recognise a wrong file."""
    host = settings.host
    set_there = [one.name for one in config.SETTINGS if os.environ.get(one.name, "").strip()]
    rows = {
        "file": str(file.absolute()) if file else f"none ({Path(config.ENV_FILE).absolute()} does not exist)",
        "environment": ", ".join(set_there) or "nothing",
        "mode": settings.app_env,
        "instance": settings.instance_name,
        "state": str(Path(settings.state_dir).absolute()),
        "address": host if host.startswith(UNIX) else f"{host} port {settings.port}",
        "languages": ", ".join(settings.languages) or f"all {len(declarations.names())}",
    }
    return "\n".join(f"  {name:<12} {value}" for name, value in rows.items())


def doctor(arguments: argparse.Namespace) -> int:
    """Checks this machine and a server. Returns the exit code."""
    from coderunner.doctor import run as checks
    from coderunner.doctor.findings import Finding

    async def work() -> list[Finding]:
        """All findings; with wrong settings only these, as nothing else can be checked."""
        try:
            settings = load(arguments)
        except ConfigError as error:
            return checks.settings_findings(checks.problems_of(error))
        found = checks.settings_findings(await here.problems(settings))
        return found + await checks.examine(
            settings, server_of(arguments, own=True), arguments.url, arguments.idle, arguments.bearer
        )

    text, code = checks.shown(asyncio.run(work()), json=arguments.json)
    print(text)
    return code


def upgrade_check(arguments: argparse.Namespace) -> int:
    """Prints what an upgrade to this version would do to sessions, images and units. Returns the exit
    code."""
    from coderunner import upgrade

    fine, lines = asyncio.run(upgrade.check(load(arguments)))
    print("\n".join(lines))
    return 0 if fine else FAILED


def files(arguments: argparse.Namespace) -> int:
    """Prints the names of the files that were installed with the server, or the content of one. Returns the
    exit code; raises CodeRunnerError for an unknown name."""
    found = places.files()
    if not arguments.name:
        for name, path in found.items():
            print(f"{name:<32}  {path}")
    elif arguments.name in found:
        sys.stdout.write(found[arguments.name].read_text("utf-8"))
    else:
        raise CodeRunnerError(f"there is no file {arguments.name}; the files are {', '.join(found)}")
    return 0
