"""A pause of the server's process, as by a long computation, does not count as silence of others."""

from __future__ import annotations

import asyncio
import signal

import pytest

from coderunner.schema import messages as m
from tests.harness import Server, eventually, running_server, session

ECHO = "import os,tty\ntty.setraw(0)\nos.write(1,b'!')\nwhile True: os.write(1,os.read(0,100))\n"
SECONDS = 12  # longer than an agent or a server may be silent, a kill may take, and a place may be waited for


@pytest.mark.long
async def test_nobody_is_condemned_for_a_server_that_stood_still(tmp_path):
    settings = {
        "LANGUAGES": "python",
        "WARM_MAX": "1",
        "MAX_CONCURRENT_SESSIONS": "3",
        "QUEUE_TIMEOUT": "10000",
    }
    with running_server(tmp_path, **settings) as server:
        async with (
            session(server) as typist,
            session(server) as killed,
            session(server, keep=True) as leaving,
        ):
            await typist.run(1, ECHO, mode="tty")
            await typist.until(1, "!")
            await killed.run(1, "import time\nprint('up', flush=True)\ntime.sleep(100)")
            await killed.until(1, "up")
            waiting = asyncio.ensure_future(newcomer(server))
            await eventually(lambda: server.stats()["queue"]["queued"] == 1, 10, "a waiter")
            server.process.send_signal(signal.SIGSTOP)
            try:
                # All of it waits in sockets while nothing is read.
                await killed.send(m.Kill(1))
                await typist.input(1, b"typed")
                await leaving.send(m.Close())
                await asyncio.sleep(SECONDS)
            finally:
                server.process.send_signal(signal.SIGCONT)
            await typist.until(1, "typed", 20)
            assert (await killed.ended(1, 20)).exit.reason == "killed"
            assert await waiting == "had a slot\n"
            assert [one.close_code for one in (typist, killed)] == [None, None]
        log = server.log.read_text()
        assert "container condemned" not in log
        assert "session lost its container" not in log


async def newcomer(server: Server) -> str:
    async with session(server) as one:
        return (await one.result(1, "print('had a slot')")).text
