"""Tables of a declaration, read with all their problems collected: no wrong value stops the reading."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from coderunner.core.project import check_path
from coderunner.errors import BadPath

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Table:
    """A table of the file and the problems found in it; every getter answers a value of the right type."""

    def __init__(self, table: Any, where: str, problems: list[str]) -> None:
        self.where = where
        self.problems = problems
        self.table: Mapping[str, Any] = table if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            self.problem("", "must be a table")

    def problem(self, key: str, text: str) -> None:
        self.problems.append(f"{self.where}: {key} {text}".replace(":  ", ": "))

    def only(self, keys: set[str]) -> None:
        for key in self.table.keys() - keys:
            self.problem(key, f"is not known; known are {', '.join(sorted(keys))}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self.table.get(key, default)
        if not isinstance(value, str):
            self.problem(key, "is missing" if value is None else "must be a text")
            return ""
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = ()) -> tuple[str, ...]:
        value = self.table.get(key, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            self.problem(key, "is missing" if value is None else "must be a list of texts")
            return ()
        return tuple(value)

    def number(self, key: str, low: int, high: int, default: int | None = None) -> int | None:
        value = self.table.get(key, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.problem(key, f"must be a whole number from {low} to {high}")
            return default
        return value

    def path(self, key: str) -> str:
        value = self.text(key)
        return self.checked_path(key, value) if value else ""

    def checked_path(self, key: str, value: str) -> str:
        try:
            return check_path(value)
        except BadPath as error:
            self.problem(key, str(error))
            return ""

    def env(self) -> Mapping[str, str]:
        """Under `env`: names of the environment and their texts."""
        env = self.table.get("env", {})
        if not isinstance(env, dict):
            self.problem("env", "must be a table")
            return {}
        for name, value in env.items():
            if not ENV_NAME.fullmatch(name) or not isinstance(value, str) or "\0" in value:
                self.problem("env", f"has a bad entry {name!r}; write NAME = \"text\"")
        return dict(env)
