"""What is promised everywhere, on whatever engine DOCKER_HOST names: a start with the canary, a program that
is typed to, each limit hit and told truly, a group, and a restart that costs no byte.

`python -m tests.platforms` runs it on other engines than this machine's.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from coderunner.client.peer import Unexpected
from coderunner.schema import messages as m
from tests.harness import SLOWNESS, Server, attach, running_server, session, start_server

pytestmark = [pytest.mark.long, pytest.mark.timeout(300 * SLOWNESS)]

MEMORY = "x = bytearray(1 << 30)"
BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
SPIN = "while True: pass"
FILL = """import os
try:
    with open("full", "wb", 0) as file:
        while True: file.write(bytes(1 << 20))
except OSError as error:
    print(error.strerror)
    os.remove("full")
"""
ORPHAN = "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(600)\nprint('over')"
LIMITS = {
    "memory": (MEMORY, {}, "oom", ("memory",)),
    "processes": (BOMB, {"wall_ms": int(3000 * SLOWNESS)}, "wall_timeout", ("pids",)),
    "processor": (SPIN, {"cpu_ms": 1000}, "cpu_timeout", ()),
    "time": ("import time; time.sleep(60)", {"wall_ms": 700}, "wall_timeout", ()),
    "disk": (FILL, {}, "exited", ()),
    "orphans": (ORPHAN, {}, "exited", ()),
}
# All of the sandbox ends when its memory is used up, and each fork uses much of it (docs/security-levels.md).
IN_GVISOR = os.environ.get("DOCKER_RUNTIME", "").startswith("runsc")
if IN_GVISOR:
    LIMITS["processes"] = (BOMB, {"wall_ms": int(8000 * SLOWNESS)}, "oom", ("memory",))
COUNT = "import time\nfor i in range(400):\n    print('%07d' % i, flush=True)\n    time.sleep(0.005)"


async def test_a_program_is_typed_to(server: Server) -> None:
    async with session(server) as client:
        await client.run(1, "print(input('name? ') + '!')", mode="tty")
        await client.until(1, "name? ")
        await client.input(1, b"Ada\n")
        await client.until(1, "Ada!")
        assert (await client.ended(1)).exit.reason == "exited"
        peak = "x = bytearray(60 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1"
        usage = (await client.result(2, peak)).exit.usage
        assert 60 << 20 < usage.memory_peak_bytes < 200 << 20


@pytest.mark.parametrize("name", LIMITS)
async def test_a_limit_that_is_hit_is_told(server: Server, name: str) -> None:
    code, limits, reason, hit = LIMITS[name]
    async with session(server) as client:
        channel = await client.result(1, code, limits=limits)
        assert name != "disk" or channel.text == "No space left on device\n"
        end = channel.exit
        assert (end.reason, end.limits_hit) == (reason, hit)
        if IN_GVISOR and name == "processes":
            assert await client.closed() == 1000
            return
        assert (await client.result(2, "print('alive')")).text == "alive\n"
        if name == "orphans":
            left = "import os\nprint(sum(name.isdigit() for name in os.listdir('/proc')))"
            # The agent, a supervisor, this one; no orphan.
            assert int((await client.result(3, left)).text) <= 4


async def test_members_of_a_group_reach_each_other(server: Server) -> None:
    if IN_GVISOR:
        with pytest.raises(Unexpected, match="python runs in runsc, whose containers cannot join a network"):
            async with session(server, network="group"):
                pass
        return
    async with session(server, network="group") as one:
        group = {"group": one.opened.group, "group_token": one.opened.group_token}
        async with session(server, network="group", **group) as two:
            serve = "import socket\ns = socket.create_server(('', 7000))\nprint('up', flush=True)\n"
            await one.run(1, serve + "s.accept()[0].send(b'hi')")
            await one.until(1, "up")
            ask = f"import socket\nprint(socket.create_connection(('{one.opened.member}', 7000)).recv(9))"
            assert (await two.result(1, ask)).text == "b'hi'\n"


async def test_a_restart_costs_no_byte(tmp_path: Path) -> None:
    with running_server(tmp_path, LANGUAGES="python", WARM_MAX="1") as server:
        async with session(server, keep=True) as client:
            await client.run(1, COUNT)
            await client.until(1, "0000050")
            server.stop(signal.SIGTERM)
            assert await client.closed() == 1012
        port = server.url.rsplit(":", 1)[1].strip("/")
        server.process = start_server({**server.environment, "PORT": port}, tmp_path / "again.log").process
        async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
            await back.message(m.Attached)
            channel = await back.ended(1)
            assert bytes(channel.data) == b"".join(b"%07d\n" % i for i in range(400))
            await back.send(m.Close())
            await back.closed()
