"""Reads hostile programs from the tables in `programs/`, and runs them.

A case has `name`, `attacks`, `expect` (a text, or a list of alternatives) and `code`. Optional: `language`,
`entry`, `mode`, `args`, `env`, `limits`, `input` (typed after the start), `when` (an output to wait for)
with `send` ("kill", or a signal's name), `shows` (false: the last line is not part of the outcome), and
`then` (the code of a second program in the same session, whose last line is part of the outcome).

An outcome is made of how the program ended, the limits it hit, what it left behind, and its last line, for
example `oom KILL +memory` or `exited 0 left 2: done`;
and of `, session unusable` if the session runs no programs afterwards.
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
WALL_MS = 10_000  # the wall limit of a program that declares no other
# WALL_MS and enough time for a busy machine to notice the end.
SECONDS = 25.0  # to wait for a program's end
ALIVE = {
    "python": ("main.py", "print('alive')"),
    "bash": ("main.sh", "echo alive"),
    "c": ("main.c", '#include <stdio.h>\nint main(void) { puts("alive"); }'),
}


def load() -> Iterator[Case]:
    """Yields the cases of `programs/*.toml`."""
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
    """Makes a case that calls one system call. `numbers`: its number on [x86_64, aarch64]."""
    numbers = [str(number) for number in table["numbers"]]
    return {
        "name": table["name"],
        "attacks": table["attacks"],
        "expect": f"exited 0: {table.get('expect', caller['expect'])}",
        "code": caller["code"],
        "args": [*numbers, *(str(argument) for argument in table.get("args", ()))],
    }


async def attack(stage: Stage, table: Mapping[str, Any]) -> str:
    """Runs a hostile program as its table declares, and returns the outcome."""
    language = table.get("language", "python")
    async with stage.session(language) as peer:
        await start(peer, 1, table)
        if "when" in table:
            await peer.until(1, table["when"])
        if "send" in table:
            how = table["send"]
            await peer.send(m.Kill(1) if how == "kill" else m.Signal(1, how))
        # Only endings are compared: how far an attack came by then depends on the machine.
        seen = describe(await peer.ended(1, SECONDS), shows=table.get("shows", True))
        if "then" in table:
            second = await peer.result(2, table["then"], entry=ALIVE[language][0])
            seen += f" | {second.last_line}"
        return seen + await aftermath(peer, language)


async def start(peer: Peer, channel: int, table: Mapping[str, Any]) -> None:
    """Starts a program as its table declares, and types its input."""
    language = table.get("language", "python")
    limits = {"wall_ms": WALL_MS, **table.get("limits", {})}
    await peer.run(
        channel,
        table["code"],
        entry=table.get("entry", ALIVE[language][0]),
        mode=table.get("mode", "pipe"),
        args=tuple(table.get("args", ())),
        env=table.get("env", {}),
        limits={**limits, "wall_ms": round(limits["wall_ms"] * peer.slowness)},
    )
    if "input" in table:
        await peer.input(channel, table["input"].encode(), offset=0)


async def aftermath(peer: Peer, language: str = "python", channel: int = 3) -> str:
    """Tests whether the session still runs programs.
    Returns "" if it does, otherwise the end of the outcome."""
    entry, code = ALIVE[language]
    try:
        stream = await peer.result(channel, code, 10, entry=entry)
    except (Unexpected, ConnectionError) as error:
        return f", session unusable: {error}"
    return "" if stream.last_line == "alive" else f", session unusable: {describe(stream)}"


def describe(stream: Channel, *, shows: bool = True) -> str:
    """Describes how a program ended; with `shows` also its last line."""
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
        # If the tree was killed, it is chance how many processes outlive the first one.
        words.append(f"left {end.left_behind}")
    return " ".join(words) + (f": {stream.last_line}" if stream.last_line and shows else "")
