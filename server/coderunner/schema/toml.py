"""Declarations in TOML, read by the models; all their problems at once, in the words of a TOML file."""

from __future__ import annotations

import tomllib

import msgspec

from coderunner.errors import ConfigError
from coderunner.schema.check import Problem, S, problems


def read_toml(kind: type[S], text: str, where: str) -> S:
    """The file's text as a `kind`; `where` is its name.  Raises ConfigError with all problems."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError([f"{where}: {error}"]) from None
    found = [in_toml(problem, where) for problem in problems(kind, document)]
    if found:
        raise ConfigError(found)
    return msgspec.convert(document, kind)


def in_toml(problem: Problem, where: str) -> str:
    """As `FILE [[samples]] 2: entry must be ...`: tables as a file writes them, counted from 1."""
    words = problem.words.replace("must be an object", "must be a table")
    path = list(problem.path)
    # What is wrong with a table itself has no field behind the table's name.
    key = "" if words == "must be a table" and len(path) > 0 else str(path.pop()) if path else ""
    if key.isdigit() and path:  # an item of a list of texts
        key = f"{path.pop()}[{key}]"
    table = ""
    for part in path:
        table = f" [[{table[2:-1]}]] {part + 1}" if isinstance(part, int) else f" [{part}]"
    return f"{where}{table}: {key} {words}".replace(":  ", ": ")
