"""Reads TOML files by models, and reports all problems at once, with TOML's terms and table headers."""

from __future__ import annotations

import tomllib

import msgspec

from coderunner.errors import ConfigError
from coderunner.schema.check import Problem, S, problems


def read_toml(kind: type[S], text: str, where: str) -> S:
    """Parses a file's text as a `kind`. `where`: its name, for the messages.
    Raises ConfigError with all problems."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError([f"{where}: {error}"]) from None
    # msgspec's own TOML decoder stops at the first problem.
    found = [in_toml(problem, where) for problem in problems(kind, document)]
    if found:
        raise ConfigError(found)
    return msgspec.convert(document, kind)


def in_toml(problem: Problem, where: str) -> str:
    """Words a problem as `FILE [[samples]] 2: entry must be ...`: with the table's header, counted from 1."""
    words = problem.words.replace("must be an object", "must be a table")
    path = list(problem.path)
    # A problem of a whole table names the table; other problems name the last part of the path as the field.
    key = "" if words == "must be a table" and len(path) > 0 else str(path.pop()) if path else ""
    if key.isdigit() and path:  # an item of a list of texts
        key = f"{path.pop()}[{key}]"
    table = ""
    for part in path:
        table = f" [[{table[2:-1]}]] {part + 1}" if isinstance(part, int) else f" [{part}]"
    return f"{where}{table}: {key} {words}".replace(":  ", ": ")
