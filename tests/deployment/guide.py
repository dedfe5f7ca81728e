"""The commands of a document, in its order: fenced blocks of `sh`, and of the `text` that they print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_HEADING = re.compile(r"^#{2,3} (?:\d+\. )?(.+)$", re.M)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Piece:
    """`prints`: what the commands print, where `…` is anything; None where the document does not say."""

    section: str
    commands: str
    prints: str | None


def pieces(page: Path) -> list[Piece]:
    """In the page's order.  A block of text belongs to the commands right before it."""
    text = page.read_text("utf-8")
    headings = [(match.start(), match[1]) for match in _HEADING.finditer(text)]
    found: list[Piece] = []
    for match in _BLOCK.finditer(text):
        section = next((name for start, name in reversed(headings) if start < match.start()), "")
        if match[1] == "sh":
            found.append(Piece(section, match[2], None))
        elif match[1] == "text":
            assert found, "a block of text before all commands"
            assert found[-1].prints is None, f"two outputs of {found[-1].commands}"
            found[-1] = Piece(found[-1].section, found[-1].commands, match[2])
    return found


def prints_so(said: str, wanted: str) -> bool:
    """Whether that is what the page says.  Spaces at the ends of lines do not count."""
    parts = wanted.strip().split("…")
    lines = "\n".join(line.rstrip() for line in said.strip().splitlines())
    return re.fullmatch(".*".join(map(re.escape, parts)), lines, re.S) is not None


def inline(page: Path, programs: tuple[str, ...]) -> list[str]:
    """The commands that stand within sentences and tables, by their first word; those with `…` are none."""
    text = _BLOCK.sub("", page.read_text("utf-8"))
    found = re.findall(r"`((?:{})(?: [^`\n]+)?)`".format("|".join(map(re.escape, programs))), text)
    return [one for one in dict.fromkeys(found) if " " in one and "…" not in one]
