"""`db`, `audit` and `keys`: what is in the database."""

from __future__ import annotations

import argparse

from coderunner.cli.common import load


def db(arguments: argparse.Namespace) -> int:
    """Migrates or describes the database. Returns the exit code."""
    settings = load(arguments)
    from coderunner.store import command  # here: wrong settings are told at once, without SQLAlchemy

    return command.db(settings, arguments.action)


def audit(arguments: argparse.Namespace) -> int:
    """Exports or erases what the audit log has. Returns the exit code."""
    settings = load(arguments)
    from coderunner.store import command

    return command.run(settings, arguments)


def keys(arguments: argparse.Namespace) -> int:
    """Makes, lists and revokes keys. Returns the exit code."""
    from coderunner.identity import command

    return command.run(load(arguments), arguments)
