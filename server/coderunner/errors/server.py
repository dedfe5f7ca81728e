"""Errors by which a server does not start, and faults of its own."""

from __future__ import annotations

from collections.abc import Iterable

from coderunner.errors.base import CodeRunnerError


class ConfigError(CodeRunnerError):
    """The settings are wrong. `problems` lists all of them, each with what to write."""

    code = "config_error"

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("the settings have problems:\n" + "\n".join(f"  - {text}" for text in self.problems))


class CannotStart(CodeRunnerError):
    """Its port, its lock or its folder cannot be had at this moment; trying again may help."""

    code = "cannot_start"
    retryable = True


class UnsupportedEngine(CannotStart):
    """The container engine is of a kind on which sessions cannot have what they are promised."""

    code = "unsupported_engine"
    retryable = False


class InternalError(CodeRunnerError):
    """A fault of the server; it was logged."""

    code = "internal"
    retryable = True
    close = 1011
