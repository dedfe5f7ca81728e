"""A case: an attack, what must come of it, and how to carry it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coderunner.attack.stage import Stage

Script = Callable[["Stage"], Awaitable[str]]
UNTRIED = "untried: "


@dataclass(frozen=True, slots=True)
class Case:
    """`script` carries the attack out and answers in a few words what was seen: one of `expected`, or the
    attack got through. An answer that begins with "untried: " says why it could not be tried here."""

    name: str
    group: str
    attacks: str
    expected: tuple[str, ...]
    script: Script

    def holds(self, seen: str) -> bool:
        """Whether what was seen is what must come of it."""
        return seen in self.expected or seen.startswith(UNTRIED)


class Group:
    """Collects the client scripts of one module."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cases: list[Case] = []

    def case(self, name: str, attacks: str, *expected: str) -> Callable[[Script], Script]:
        """A decorator: its function is a case. ``expected``: what may be seen."""

        def add(script: Script) -> Script:
            self.add(name, attacks, script, *expected)
            return script

        return add

    def add(self, name: str, attacks: str, script: Script, *expected: str) -> None:
        """As ``case``, for cases that are made in a loop."""
        self.cases.append(Case(name, self.name, attacks, expected, script))


def same(got: bytes | bytearray, sent: bytes) -> str:
    """Describes whether bytes came back as they were sent."""
    return "every byte as it was" if bytes(got) == sent else f"{len(got)} bytes of {len(sent)}, or others"
