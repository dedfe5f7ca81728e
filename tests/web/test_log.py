"""What an operator finds in the log of a real server, and what never stands there."""

from __future__ import annotations

import asyncio
import json

from coderunner import __version__
from coderunner.schema import messages as m
from tests.harness import Server, connect, running_server, session

SECRET = "hunter2-of-the-user"


def lines(server: Server) -> list[dict]:
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def said(server: Server, text: str) -> list[dict]:
    return [line for line in lines(server) if line["msg"] == text]


async def use(server: Server) -> str:
    """A session in which a secret is typed, stored and printed; its token."""
    async with session(server, "bash") as client:
        token = client.opened.token
        program = f"echo {SECRET} | tee secret.txt; read line; echo {SECRET}$line"
        await client.run(1, program, entry="main.sh")
        await client.until(1, SECRET)
        await client.input(1, f"{SECRET}\n".encode())
        await client.ended(1)
    return token


def test_the_first_lines_say_what_runs_here(tmp_path):
    settings = {"LANGUAGES": "bash", "WARM_MAX": "1", "LOG_FORMAT": "json", "MAX_CONCURRENT_SESSIONS": "7"}
    with running_server(tmp_path, ready=("bash",), **settings) as server:
        first = lines(server)[0]
        assert first["msg"] == f"CodeRunner {__version__} starts in development"
        assert (first["version"], first["mode"], first["instance"]) == (
            __version__, "development", server.instance,
        )  # fmt: skip
        assert (first["sessions"], first["memory_bytes"], first["languages"]) == (7, 256 * 1024**2, 1)
        [engine] = [line for line in lines(server) if line["msg"].startswith("container engine ")]
        assert engine["version"] in engine["msg"]
        assert engine["runtime"] == "runc"
        assert engine["cgroup"] in (1, 2)
        assert said(server, "Initializing worker pool with 4 threads")


def test_debug_says_what_was_decided_and_how_long_it_took(tmp_path):
    settings = {"LANGUAGES": "bash", "WARM_MAX": "1", "LOG_FORMAT": "json", "LOG_LEVEL": "debug"}
    with running_server(tmp_path, ready=("bash",), **settings) as server:
        token = asyncio.run(use(server))
        server.stop()
        calls = {line["call"] for line in said(server, "engine call")}
        assert {"create", "attach", "start", "remove"} <= calls
        assert all(line["ms"] >= 0 for line in said(server, "engine call"))
        [slot] = said(server, "slot given")
        assert (slot["language"], slot["active"], slot["queued"]) == ("bash", 1, 0)
        [attached] = said(server, "attached")
        [detached] = said(server, "detached")
        assert attached["session"] == detached["session"]
        assert (attached["role"], attached["attachments"], detached["attachments"]) == ("control", 1, 0)
        assert said(server, "warm container taken")
        assert any(line["work"] == "provision bash" for line in said(server, "work done"))
        text = server.log.read_text()
        assert SECRET not in text
        assert token not in text


def test_info_says_none_of_it(tmp_path):
    settings = {"LANGUAGES": "bash", "WARM_MAX": "1", "LOG_FORMAT": "json", "LOG_LEVEL": "info"}
    with running_server(tmp_path, ready=("bash",), **settings) as server:
        asyncio.run(use(server))
        server.stop()
        assert {line["level"] for line in lines(server)} <= {"info", "warning"}
        assert not said(server, "engine call")


async def refused(server: Server) -> None:
    async with connect(server.url, "ws/nobody") as one:
        await one.send(m.Attach("nobody", "t" * 32, one.client))
        assert await one.closed() == 4404


def test_who_came_from_where_and_for_how_long(tmp_path):
    key = "k" * 40
    settings = {"LANGUAGES": "bash", "WARM_MAX": "1", "LOG_FORMAT": "json", "ADMIN_KEY": key}
    with running_server(tmp_path, ready=("bash",), **settings) as server:

        async def visit() -> None:
            async with session(server, "bash", headers={"Authorization": f"Bearer {key}"}):
                pass
            await refused(server)

        asyncio.run(visit())
        server.stop()
        [opened], [ended] = said(server, "session opened"), said(server, "session ended")
        for line in (opened, ended):
            assert (line["address"], line["principal"], line["language"]) == ("127.0.0.1", "admin", "bash")
        assert opened["session"] == ended["session"]
        assert opened["warm"] in (True, False)
        assert opened["queue_ms"] >= 0
        assert opened["provision_ms"] >= 0
        assert ended["reason"] == "client"
        assert 0 <= ended["seconds"] < 60
        [line] = said(server, "connection refused")
        assert (line["code"], line["address"]) == ("no_session", "127.0.0.1")
