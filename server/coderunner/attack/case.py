"""A case of the attack suite: a description, the expected outcomes, and the script that carries it out."""

from __future__ import annotations

import fnmatch
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coderunner.attack.stage import Stage

Script = Callable[["Stage"], Awaitable[str]]
UNTRIED = "untried: "  # begins an outcome that says why the attack is impossible here


@dataclass(frozen=True, slots=True)
class Case:
    """An attack. `attacks`: what is attacked and by what, for the listing. `script`: carries it out, and
    describes in a few words what happened. Anything but one of the `expected` outcomes means that the attack
    succeeded; one that begins with UNTRIED counts as passed. `also`: patterns (fnmatch) of others that are
    expected of this server's runtime."""

    name: str
    group: str
    attacks: str
    expected: tuple[str, ...]
    script: Script
    also: tuple[str, ...] = ()

    def holds(self, seen: str) -> bool:
        """Whether an outcome is an expected one."""
        if seen in self.expected or seen.startswith(UNTRIED):
            return True
        return any(fnmatch.fnmatchcase(seen, pattern) for pattern in self.also)


class Group:
    """Collects the cases of one module of `attack.clients`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cases: list[Case] = []

    def case(self, name: str, attacks: str, *expected: str) -> Callable[[Script], Script]:
        """A decorator that makes a function the script of a case. `expected`: its outcomes."""

        def add(script: Script) -> Script:
            """Adds the case, and returns the script unchanged."""
            self.add(name, attacks, script, *expected)
            return script

        return add

    def add(self, name: str, attacks: str, script: Script, *expected: str) -> None:
        """As `case`, for cases that are made in a loop."""
        self.cases.append(Case(name, self.name, attacks, expected, script))


def same(got: bytes | bytearray, sent: bytes) -> str:
    """The outcome of a comparison of received and sent bytes, as a text."""
    return "every byte as it was" if bytes(got) == sent else f"{len(got)} bytes of {len(sent)}, or others"
