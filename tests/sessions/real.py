"""The real agent as a process without a container, in place of `fakes.Agent`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from coderunner.agent import tree
from tests.harness import ROOT
from tests.sessions.fakes import Stream

COMMAND = """
import sys
sys.path.insert(0, sys.argv[1])
from coderunner.agent import files, main, snapshot
files.WORKSPACE = snapshot.WORKSPACE = sys.argv[2]
main.Agent().run()
"""


class RealAgent:
    """The interface of an agent that the fakes' `Engine` needs. It reads every stream, and writes to the
    newest one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.stream: Stream | None = None
        self._process = process

    def hear(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    async def speak(self) -> None:
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(65536):
            if self.stream is not None:
                self.stream.give(data)


@contextlib.asynccontextmanager
async def real_agent(workspace: Path) -> AsyncIterator[RealAgent]:
    """Ends the agent and all of its programs at the end of the block. Its standard error is that of
    the test."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMAND, str(ROOT / "server"), str(workspace),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": f"{workspace}/.tmp"},  # as the images set it
    )  # fmt: skip
    one = RealAgent(process)
    speaking = asyncio.create_task(one.speak())
    try:
        yield one
    finally:
        tree.kill(process.pid)
        process.kill()
        await process.wait()
        await speaking
