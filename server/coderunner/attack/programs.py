"""Hostile programs, read from the tables in `programs/`, and how one is run.

A table's case has `name`, `attacks`, `expect` (a text, or a list of them: any will do), `code`, and where
they differ from the usual `language`, `entry`, `mode`, `args`, `env`, `limits`, `input` (typed when it
began), `when` (an output to wait for) with `send` ("kill", or a signal's name), `shows` false where its last
line is any, and `then`: the code of a second program in the same session, whose last line is shown as well.

What is seen of a program: how it ended, the limits it hit, what it left behind, and its last line:
`oom KILL +memory`, `exited 0 left 2: done`. When the session is of no use afterwards, `, session unusable`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from coderunner.attack.case import Case
from coderunner.attack.stage import Stage
from coderunner.client.peer import Channel, Peer, Unexpected
from coderunner.schema import messages as m

GROUPS = ("processes", "memory", "disk", "output", "terminal", "secrets", "network", "kernel")
WALL_MS = 10_000
SECONDS = 25.0
ALIVE = {
    "python": ("main.py", "print('alive')"),
    "bash": ("main.sh", "echo alive"),
    "c": ("main.c", '#include <stdio.h>\nint main(void) { puts("alive"); }'),
}


def load() -> Iterator[Case]:
    """The cases of `programs/*.toml`."""
    for group in GROUPS:
        text = (files("coderunner.attack") / "programs" / f"{group}.toml").read_text("utf-8")
        document = tomllib.loads(text)
        for table in document.get("case", ()):
            yield _case(group, table)
        for table in document.get("call", ()):
            yield _case(group, _call(document["caller"], table))


def _case(group: str, table: Mapping[str, Any]) -> Case:
    expect = table["expect"]
    expected = (expect,) if isinstance(expect, str) else tuple(expect)

    async def script(stage: Stage) -> str:
        return await attack(stage, table)

    return Case(table["name"], group, table["attacks"], expected, script)


def _call(caller: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """A system call by its numbers: [x86_64, aarch64]."""
    numbers = [str(number) for number in table["numbers"]]
    return {
        "name": table["name"],
        "attacks": table["attacks"],
        "expect": f"exited 0: {table.get('expect', caller['expect'])}",
        "code": caller["code"],
        "args": [*numbers, *(str(argument) for argument in table.get("args", ()))],
    }


async def attack(stage: Stage, table: Mapping[str, Any]) -> str:
    """Runs a hostile program as its table says; what was seen of it."""
    language = table.get("language", "python")
    async with stage.session(language) as peer:
        await start(peer, 1, table)
        if "when" in table:
            await peer.until(1, table["when"])
        if "send" in table:
            how = table["send"]
            await peer.send(m.Kill(1) if how == "kill" else m.Signal(1, how))
        seen = describe(await peer.ended(1, SECONDS), shows=table.get("shows", True))
        if "then" in table:
            second = await peer.result(2, table["then"], entry=ALIVE[language][0])
            seen += f" | {second.last_line}"
        return seen + await aftermath(peer, language)


async def start(peer: Peer, channel: int, table: Mapping[str, Any]) -> None:
    """Sends the program's `run`, or opens a shell, as its table says."""
    language = table.get("language", "python")
    await peer.run(
        channel,
        table["code"],
        entry=table.get("entry", ALIVE[language][0]),
        mode=table.get("mode", "pipe"),
        args=tuple(table.get("args", ())),
        env=table.get("env", {}),
        limits={"wall_ms": WALL_MS, **table.get("limits", {})},
    )
    if "input" in table:
        await peer.input(channel, table["input"].encode(), offset=0)


async def aftermath(peer: Peer, language: str = "python", channel: int = 3) -> str:
    """Empty when the session still runs programs."""
    entry, code = ALIVE[language]
    try:
        stream = await peer.result(channel, code, 10, entry=entry)
    except (Unexpected, ConnectionError) as error:
        return f", session unusable: {error}"
    return "" if stream.last_line == "alive" else f", session unusable: {describe(stream)}"


def describe(stream: Channel, *, shows: bool = True) -> str:
    """How it ended; with `shows` its last line as well."""
    end = stream.exit
    if end is None:
        return "no end"
    words = [end.reason]
    if end.signal is not None:
        words.append(end.signal)
    elif end.code is not None:
        words.append(str(end.code))
    words += [f"+{name}" for name in end.limits_hit]
    if end.left_behind and end.reason in ("exited", "signaled"):
        # Of a tree that we killed some processes or others outlive the first: the count says nothing.
        words.append(f"left {end.left_behind}")
    return " ".join(words) + (f": {stream.last_line}" if stream.last_line and shows else "")
