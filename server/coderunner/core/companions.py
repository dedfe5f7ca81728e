"""What runs in a session beside its programs, from before its user comes: declared in `language.toml`."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from coderunner.core.tables import Table

SERVICE_FOLDER = "/workspace/.service"
START_MS = 10_000
MAX_START_MS = 60_000


@dataclass(frozen=True, slots=True)
class Service:
    """A program that lives as long as its session.  `ready`: a path that exists once it can be used."""

    command: tuple[str, ...]
    ready: str
    env: Mapping[str, str]
    start_ms: int = START_MS


@dataclass(frozen=True, slots=True)
class Preload:
    """A process from which programs are forked instead of executed, in the same way for who looks at them.

    `entries`: patterns of the entry files that it can run. `fixed`: patterns of names in the environment that
    it has read when it began; a run that has another value there is executed.
    """

    command: tuple[str, ...]
    entries: tuple[str, ...]
    fixed: tuple[str, ...]
    env: Mapping[str, str]
    start_ms: int = START_MS


def read_service(table: Table) -> Service:
    table.only({"command", "ready", "env", "start_ms"})
    return Service(_command(table), _ready(table), table.env(), _start_ms(table))


def read_preload(table: Table) -> Preload:
    table.only({"command", "entries", "fixed", "env", "start_ms"})
    entries = table.texts("entries", None)
    if "entries" in table.table and not entries:
        table.problem("entries", "must name at least one pattern, like *.py")
    return Preload(_command(table), entries, table.texts("fixed"), table.env(), _start_ms(table))


def _command(table: Table) -> tuple[str, ...]:
    command = table.texts("command", None)
    if "command" in table.table and not command:
        table.problem("command", "must name a program")
    if any("\0" in word for word in command):
        table.problem("command", "has a NUL")
    return command


def _ready(table: Table) -> str:
    ready = table.text("ready")
    inside = ready.startswith(SERVICE_FOLDER + "/") and posixpath.normpath(ready) == ready
    if ready and (not inside or "\0" in ready):
        table.problem("ready", f"must be a path below {SERVICE_FOLDER}/")
    return ready


def _start_ms(table: Table) -> int:
    return table.number("start_ms", 100, MAX_START_MS, START_MS) or START_MS
