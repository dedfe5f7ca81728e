"""The table of error codes, made from the classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coderunner.errors import CannotStart, CodeRunnerError, ConfigError
from coderunner.errors.base import meaning


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table of error codes."""

    code: str
    close: int | None
    retryable: bool
    meaning: str


def leaves() -> Iterator[type[CodeRunnerError]]:
    """All classes that have a code of their own, in the order in which `errors` imports their modules."""

    def walk(kind: type[CodeRunnerError]) -> Iterator[type[CodeRunnerError]]:
        """A class and its subclasses, depth first."""
        if "code" in vars(kind):
            yield kind
        for child in kind.__subclasses__():
            yield from walk(child)

    return walk(CodeRunnerError)


def table() -> list[Row]:
    """The codes that may reach a client (so without `config_error` and `cannot_start`)."""
    return [
        Row(kind.code, kind.close, kind.retryable, meaning(kind))
        for kind in leaves()
        if not issubclass(kind, ConfigError | CannotStart)
    ]


def table_text() -> str:
    """The table as Markdown, as it stands in `docs/protocol.md`."""
    lines = ["| code | close | retryable | meaning |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{row.code}` | {row.close or ''} | {'yes' if row.retryable else ''} | {row.meaning} |"
        for row in table()
    ]
    return "\n".join(lines) + "\n"
