"""Parses the output of an image build: its steps, and the output of their commands."""

from __future__ import annotations

import re
from dataclasses import dataclass

OUTPUT = "| "
"""Begins each reported line that a command of a build printed, such as a package manager."""
OUTPUT_LINE = 200  # characters of such a line
COMMAND = 160  # characters of a step's command in a sentence

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)", re.DOTALL)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CODE = re.compile(r"returned a non-zero code: (\d+)\s*$")


@dataclass(frozen=True, slots=True)
class BuildStep:
    """A step of a build: its number, how many there are, and its command."""

    number: int
    of: int
    command: str

    def __str__(self) -> str:
        return f"step {self.number} of {self.of}"


def plain(text: str) -> str:
    """A line of a build without colours: the engine prints the standard error of commands in red."""
    return _COLOUR.sub("", text).strip()


def step_of(line: str) -> BuildStep | None:
    """The step that this line of a build begins; None where it begins none."""
    found = _STEP.match(line)
    return BuildStep(int(found[1]), int(found[2]), " ".join(found[3].split())) if found else None


def is_detail(line: str) -> bool:
    """Whether a line of progress is shown only in verbose mode: a step, or output."""
    return line.startswith(OUTPUT) or step_of(line) is not None


def why_failed(step: BuildStep | None, error: str) -> str:
    """One sentence about a failed build. `step`: the last that began. `error`: the engine's words."""
    code = _CODE.search(error)
    reason = f"its command ended with code {code[1]}" if code else " ".join(error.split())[:COMMAND]
    return reason if step is None else f"{step} ({step.command[:COMMAND]}): {reason}"
