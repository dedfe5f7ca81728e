"""What is promised of sessions in gVisor, and what docs/security-levels.md says cannot be.

Run by `python -m tests.platforms gvisor`, on an engine that has it.
"""

from __future__ import annotations

import pytest

from coderunner.schema import messages as m
from tests.harness import SLOWNESS, Server, session

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300 * SLOWNESS),
]

WHERE = "print(open('/proc/version').read())"
KEPT = """\
import os
shell = os.popen('id -u; cat /sys/fs/cgroup/pids/pids.max').read().split()
print(shell[0] == str(os.getuid()), shell[1])
"""
KILL = "import os; os.kill(1, 9)"
THREADS = """\
import threading, time
stop, some = threading.Event(), []
try:
    while len(some) < 400: some.append(threading.Thread(target=stop.wait)); some[-1].start()
except RuntimeError: print('refused', flush=True)
time.sleep(2.5)
stop.set()
"""
FLOOD = "import sys\nfor i in range(200000): print('%07d' % i)"


async def test_programs_run_on_its_kernel_and_say_so(server: Server) -> None:
    async with session(server) as client:
        assert client.opened is not None
        assert client.opened.isolation.runtime == "runsc"
        # Its kernel calls itself by this version, whatever the machine's is.
        assert "4.4.0" in (await client.result(1, WHERE)).text


async def test_the_sessions_limits_are_those_of_its_own_kernel(server: Server) -> None:
    async with session(server, limits={"pids": 40}) as client:
        assert (await client.result(1, KEPT)).text == "True 40\n"
        refused = await client.result(2, THREADS)
        assert "refused" in refused.text
        assert refused.exit.limits_hit == ("pids",)
        assert (await client.result(3, "print('alive')")).text == "alive\n"


async def test_no_byte_of_a_flood_is_lost(server: Server) -> None:
    async with session(server) as client:
        channel = await client.result(1, FLOOD, 60)
        assert channel.text == "".join(f"{i:07d}\n" for i in range(200000))


async def test_a_session_whose_agent_a_program_killed_ends(server: Server) -> None:
    """A program can do that there: of the session, nothing is left, and nobody else notices."""
    async with session(server) as other, session(server) as client:
        await client.run(1, KILL)
        assert await client.closed() == 1000
        assert client.channel(1).exit.reason == "engine_lost"
        assert (await other.result(1, "print('alive')")).text == "alive\n"


HEARD = """\
import os, signal, time
def heard(number, _):
    print(signal.Signals(number).name, *os.get_terminal_size(), flush=True)
for name in ("SIGWINCH", "SIGUSR1", "SIGTERM"):
    signal.signal(getattr(signal, name), heard)
print("ready", flush=True)
while True: time.sleep(0.05)
"""
BIG = "import mmap\nx = mmap.mmap(-1, 200 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('had')"


async def test_a_program_in_a_terminal_hears_of_its_size_and_of_signals(server: Server) -> None:
    """Its terminals tell neither which group is in the foreground nor of a new size."""
    async with session(server) as client:
        await client.run(1, HEARD, mode="tty")
        await client.until(1, "ready")
        await client.send(m.Resize(1, 100, 30))
        await client.until(1, "SIGWINCH 100 30")
        for name in ("USR1", "TERM"):
            await client.send(m.Signal(1, name))
            await client.until(1, f"SIG{name} 100 30")
        await client.send(m.Kill(1))
        assert (await client.ended(1)).exit.reason == "killed"


async def test_a_program_has_all_of_its_memory(server: Server) -> None:
    async with session(server) as client:
        channel = await client.result(1, BIG)
        assert (channel.text, channel.exit.reason) == ("had\n", "exited")
        assert (await client.result(2, BIG.replace("200", "300"))).exit.reason == "oom"
        assert (await client.result(3, "print('alive')")).text == "alive\n"
