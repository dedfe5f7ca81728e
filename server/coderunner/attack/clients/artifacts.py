"""Attacks by what programs make and print: change notices, artifacts, and the search for diagnostics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from coderunner.attack.case import Group
from coderunner.attack.rest import session
from coderunner.attack.stage import Stage
from coderunner.client.peer import Peer
from coderunner.schema import messages as m

GROUP = Group("artifacts")

_ECHO = "import os,tty\ntty.setraw(0)\nos.write(1,b'!')\nwhile True: os.write(1,os.read(0,100))"


async def _slowest(peer: Peer, until: Callable[[], object]) -> float:
    """The longest that an echo in channel 1 took until the condition held, in seconds."""
    slowest, at, loop = 0.0, 0, asyncio.get_running_loop()
    while not until():
        began, before = loop.time(), peer.channel(1).end
        await peer.input(1, b"k", offset=at)
        at += 1
        await peer.wait(lambda before=before: peer.channel(1).end > before, 10, "echo")  # type: ignore[misc]
        # The worst one, not a mean: a single long turn of the loop is what users notice.
        slowest = max(slowest, loop.time() - began)
        await asyncio.sleep(0.01)
    return slowest


# --- change notices --------------------------------------------------------------------------------------


def _revision(peer: Peer) -> int:
    """The newest revision of the workspace that the client was told; 0 without any."""
    return max([one.revision for one in peer.messages if isinstance(one, m.Workspace)], default=0)


@GROUP.case(
    "watches-used-up", "notices of changed files, by a program that uses all inotify watches",
    "told within 10 s, alive",
)  # fmt: skip
async def _watches(stage: Stage) -> str:
    hog = (
        "import ctypes,os,sys\nlibc=ctypes.CDLL(None)\n"
        "ones=[]\n"
        "while (one := libc.inotify_init1(0)) >= 0: ones.append(one)\n"
        "for n in range(3000):\n"
        "    os.makedirs(f'd{n}', exist_ok=True)\n"
        "    for one in ones[:40]: libc.inotify_add_watch(one, b'd%d' % n, 0xfff)\n"
        "print('hogged', len(ones), flush=True)\ninput()\n"
        "open('d2999/new', 'w').close(); print('made', flush=True)\ninput()"
    )
    async with session(stage) as (peer, rest):
        await peer.run(1, hog)
        await peer.until(1, "hogged", 60)
        # The notices of its 3,000 folders are waited for, so that the next one is that of the new file.
        before = -1
        while before != _revision(peer):
            before = _revision(peer)
            await asyncio.sleep(3)
        await peer.input(1, b"\n", offset=0)
        await peer.until(1, "made")
        await peer.wait(lambda: _revision(peer) > before, 10, "word of a change")
        told = "told within 10 s" if "d2999/new" in await rest.paths() else "not listed"
        await peer.send(m.Kill(1))
        await peer.ended(1)
        last = (await peer.result(2, "print('alive')")).last_line
        return f"{told}, {last}"


@GROUP.case(
    "changes-without-end",
    "the agent's and the client's time, by files and artifacts that are made as fast as possible",
    "few messages, echo goes on, at most 64 artifacts",
)  # fmt: skip
async def _storm(stage: Stage) -> str:
    storm = (
        "import os,time\nn=0\nend=time.time()+5\n"
        "while time.time()<end:\n"
        "    n+=1; open(f'f{n%300}.png','w').write('x'*(n%7+1)); os.makedirs(f'd{n%200}/e',exist_ok=True)\n"
        "    os.rmdir(f'd{n%200}/e')"
    )
    async with session(stage) as (peer, _):
        await peer.run(1, _ECHO, mode="tty", entry="echo.py")
        await peer.until(1, "!")
        await peer.run(2, storm)
        slowest = await _slowest(peer, lambda: peer.channel(2).exit)
        # At most four notices a second (docs/protocol.md); the storm lasts for five seconds.
        words = sum(isinstance(one, m.Workspace) for one in peer.messages)
        made = {one.path for one in peer.messages if isinstance(one, m.Artifact)}
        return (
            f"{'few' if words <= 40 else words} messages, "
            f"{'echo goes on' if slowest < 1.0 else f'an echo took {slowest:.1f} s'}, "
            f"{'at most 64' if len(made) <= 64 else len(made)} artifacts"
        )


@GROUP.case(
    "output-that-is-searched", "the server's time, by output that makes the search for problems slow",
    "at most 100 problems, echo beside it goes on",
)  # fmt: skip
async def _searched(stage: Stage) -> str:
    code = (
        "import sys\n"
        "for line in ('  File \"/workspace/main.py\", line 1, in x\\nA: b\\n' * 9000, ':' * 200000,"
        " '\\x1b]' * 99999, '\\r' * 200000, '  File \"' * 30000): sys.stderr.write(line)\n"
        "sys.exit(1)"
    )
    async with stage.session() as neighbour, session(stage) as (peer, _):
        await neighbour.run(1, _ECHO, mode="tty")
        await neighbour.until(1, "!")
        await peer.run(1, code)
        slowest = await _slowest(neighbour, lambda: peer.channel(1).exit)
        found = [one for one in peer.messages if isinstance(one, m.Diagnostics)]
        most = max([len(one.items) for one in found], default=0)
        return (
            f"{'at most 100' if most <= 100 else most} problems, "
            f"{'echo beside it goes on' if slowest < 1.0 else f'an echo took {slowest:.1f} s'}"
        )
