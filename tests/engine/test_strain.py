"""Work that the kernel does outside of any quota is traced to its container, on a real engine and kernel."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from coderunner.engine.docker import DockerEngine
from coderunner.engine.host import Host
from coderunner.fleet import watchdog
from coderunner.fleet.watchdog import Strain, Watchdog
from tests.engine.conftest import MakeSpec

TERMINALS = """
import os
pairs = [os.openpty() for _ in range(8)]
for pair in pairs:
    for one in pair: os.set_blocking(one, False)
print("begun", flush=True)
data = b"a\\n" * 2000
while True:
    for master, slave in pairs:
        for action, argument in ((os.write, data), (os.read, 65536)):
            try: action(master, argument)
            except BlockingIOError: pass
        try: os.read(slave, 65536)
        except BlockingIOError: pass
"""
BUSY = "print('begun', flush=True)\nwhile True: pass"


class Begun:
    """A container in a session's place."""

    def __init__(self, container: str, uid: int) -> None:
        self.id = container
        self.over = False
        self.why = ""
        self.language = SimpleNamespace(name="python")
        self.record = SimpleNamespace(session=self.id, language="python", address="192.0.2.1", principal=None)
        self.container = SimpleNamespace(id=container, uid=uid, condemn=self.evict)

    def evict(self, why: str) -> None:
        self.over, self.why = True, why


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_work_in_the_kernels_threads_is_traced_to_its_container(
    engine: DockerEngine, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is as busy beside it is not ended.  The share is low, for a machine with other work to do."""
    sessions: dict[str, Any] = {}
    for name, program in (("guilty", TERMINALS), ("busy", BUSY)):
        spec = make_spec(program)
        container = await engine.create(spec)
        stream = await engine.attach(container)
        await engine.start(container)
        assert b"begun" in await stream.read()
        await stream.close()
        sessions[name] = Begun(container, spec.uid)
    strain = Strain("work of the kernel", Host.kernel_seconds, 0.1, 3)
    # On a machine that is so busy that a search shows nothing, it is repeated at once.
    monkeypatch.setattr(watchdog, "QUIET_SECONDS", (0.0, 0.0))
    dog = Watchdog(engine, lambda: sessions, 0.2, strains=(strain,))
    for _ in range(200):
        await asyncio.sleep(0.2)
        await dog.look()
        if sessions["guilty"].over:
            break
    assert "work of the kernel" in sessions["guilty"].why
    assert sessions["busy"].why == ""
    states = [await engine.inspect(one.id) for one in sessions.values()]
    assert not any(state.paused for state in states)
