"""`db`, `audit` and `keys`: the commands for the contents of the database."""

from __future__ import annotations

import argparse

from coderunner.cli.common import load


def db(arguments: argparse.Namespace) -> int:
    """Checks the tables of the database, or brings them up to date. Returns the exit code."""
    settings = load(arguments)
    from coderunner.store import command  # here: wrong settings are told at once, without SQLAlchemy

    return command.db(settings, arguments.action)


def audit(arguments: argparse.Namespace) -> int:
    """Exports the audit log, or exports or erases what is stored about a caller. Returns the exit code."""
    settings = load(arguments)
    from coderunner.store import command

    return command.run(settings, arguments)


def keys(arguments: argparse.Namespace) -> int:
    """Makes, lists or revokes API keys. Returns the exit code."""
    from coderunner.identity import command

    return command.run(load(arguments), arguments)
