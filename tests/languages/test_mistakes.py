"""A student's ordinary mistakes, in every language: the place, the hint and the true end of each are told.

`mistakes/NAME.toml` has a language's programs, each with the `line` of a problem that is told, how its
`message` begins, how many `errors` are told (default: one), the `reason` of its end (default: exited), its
code, if it `ends` with one of its own and not just with another than 0, and words of its `hint`.

A program with other `files` has a session of its own. The problem may be `in` one of them, the entry may be
another than the language's, and what is told at the line may have to be of a `severity`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from coderunner import declarations
from coderunner.schema import messages as m
from tests.harness import Client, Server, session

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

DECLARED = declarations.load().languages
FOLDER = Path(__file__).parent / "mistakes"
MISTAKES = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.toml")}
SAME_TOOLS = {"cpp-boost": "cpp", "python-science": "python"}  # as another language


def test_every_language_has_mistakes() -> None:
    assert {*MISTAKES, *SAME_TOOLS} == {*DECLARED}
    for name, other in SAME_TOOLS.items():
        assert DECLARED[name].diagnostics == DECLARED[other].diagnostics


def test_every_language_that_names_a_file_has_a_mistake_in_another_than_the_entry() -> None:
    with_one = {name for name, programs in MISTAKES.items() if any("in" in one for one in programs.values())}
    # SQLite tells a line of a file that `.read` names as one of the entry.
    assert {*MISTAKES} - with_one == {"sqlite"}


@pytest.mark.parametrize("name", sorted(MISTAKES))
async def test_a_mistake_is_told(everything: Server, name: str) -> None:
    wrong = []
    alone = {title: program for title, program in MISTAKES[name].items() if "files" in program}
    async with session(everything, name) as client:
        for number, (title, program) in enumerate(MISTAKES[name].items()):
            if title not in alone:
                wrong += [f"{title}: {problem}" for problem in await problems(client, name, number, program)]
    for title, program in alone.items():
        async with session(everything, name) as client:
            wrong += [f"{title}: {problem}" for problem in await problems(client, name, 1, program)]
    assert not wrong, "\n".join(wrong)


def test_what_is_told_is_no_line_of_the_program() -> None:
    """But the problem's own words, for all that have a place."""
    for name, programs in MISTAKES.items():
        for title, program in programs.items():
            assert ("line" in program) == ("message" in program), f"{name}: {title}"
            texts = [program["code"], *program.get("files", {}).values()]
            lines = [line.strip() for text in texts for line in text.splitlines()]
            assert program.get("message") not in lines, f"{name}: {title}"


async def problems(client: Client, name: str, number: int, program: dict[str, Any]) -> list[str]:
    """What is not told as it should be of one program, run in the session."""
    entry = program.get("entry", DECLARED[name].entry)
    texts = {entry: program["code"], **program.get("files", {})}
    files = tuple(m.File(path, text.encode()) for path, text in texts.items())
    await client.send(m.Run(number, "pipe", files=files, entry=entry, env=program.get("env", {})))
    if data := str(program.get("stdin", "")).encode():
        await client.input(number, data)
    await client.send(m.Eof(number, len(data)))
    channel = await client.ended(number, 120)
    said = [one for one in client.messages if isinstance(one, m.Diagnostics) and one.channel == number]
    told = [item for one in said for item in one.items]
    found = []
    if "line" in program:
        place = (program.get("in", entry), program["line"])
        there = [item for item in told if (item.path, item.line) == place]
        at = [item.message for item in there if item.severity == program.get("severity", item.severity)]
        errors = len([item for item in told if item.severity == "error"])
        if not any(message.startswith(program["message"]) for message in at):
            found.append(f"{place} is not told so, but {told}: {channel.text[:1000]}")
        if errors != program.get("errors", 1):
            found.append(f"{errors} errors are told: {told}: {channel.text[:1000]}")
    code, reason = channel.exit.code, program.get("reason", "exited")
    if reason != channel.exit.reason or (code != program["ends"] if "ends" in program else code == 0):
        found.append(f"ended by {channel.exit}, not {reason}: {channel.text[:1000]}")
    if "hint" in program and not any(str(program["hint"]) in hint for hint in channel.exit.hints):
        found.append(f"no hint {program['hint']!r}, but {channel.exit.hints}: {channel.text[:1000]}")
    return found
