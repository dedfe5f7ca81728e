"""`/mcp` of the server itself: callers are those of the other routes, with their limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from coderunner.web.mcp import MAX_BODY
from tests.harness import Server, eventually, running_server
from tests.mcp.agents import by_http
from tests.web.ordering import again

# Servers begin and end in it.
pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]
SETTINGS = {
    "LANGUAGES": "python", "WARM_MAX": "1", "MCP": "on", "ANONYMOUS": "no", "SESSIONS_PER_PRINCIPAL": "1",
    # Who calls stands in a header of a proxy: nothing that an agent's process could be given to show.
    "PROXY_USER_HEADER": "X-User", "TRUSTED_PROXIES": "127.0.0.1",
}  # fmt: skip
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def mcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("mcp"), **SETTINGS) as server:
        yield server


def process_of(server: Server) -> int | None:
    """The process that the server has started for agents."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == server.process.pid and b"--of-server" in (folder / "cmdline").read_bytes():
                return int(folder.name)
    return None


async def test_an_agent_is_a_caller_like_any_other(mcp: Server):
    async with by_http(mcp.url + "mcp", **{"X-User": "alice"}) as agent:
        opened = await agent.open()
        assert opened["page"].startswith(f"{mcp.url}#session=")
        shown = await agent("run", session=opened["session"], files={"main.py": "print(6 * 7)"})
        assert "42" in shown
        async with aiohttp.ClientSession() as http:
            mine = await (await http.get(mcp.url + "api/sessions", headers={"X-User": "alice"})).json()
            others = await (await http.get(mcp.url + "api/sessions", headers={"X-User": "bob"})).json()
        assert (len(mine["sessions"]), others["sessions"]) == (1, [])
        with pytest.raises(RuntimeError, match="too_many_sessions"):
            await agent.open()
        batch = {"language": "python", "source": "print(input())", "cases": [{"stdin": "a", "expected": "a"}]}
        await agent("close", session=opened["session"])
        assert json.loads(await agent("batch", request=batch))["passed"] == 1


async def test_what_is_refused(mcp: Server):
    url = mcp.url + "mcp"
    async with aiohttp.ClientSession(headers=ACCEPT) as http:

        async def post(data: bytes, **headers: str) -> tuple[int, str]:
            async with http.post(url, data=data, headers=headers) as answer:
                text = await answer.text()
                assert answer.content_type == "application/problem+json" or answer.status < 400, text
                return answer.status, json.loads(text)["code"] if answer.status >= 400 else ""

        hello = json.dumps(INITIALIZE).encode()
        assert await post(hello) == (401, "unauthenticated")
        assert await post(hello, **{"X-User": "alice", "Origin": "https://elsewhere.example"}) == (
            403, "not_allowed",
        )  # fmt: skip
        assert await post(b" " * (MAX_BODY + 1), **{"X-User": "alice"}) == (413, "body_too_large")
        async with http.post(url, data=hello, headers={"X-User": "alice"}) as answer:
            assert answer.status == 200
            agent = answer.headers["Mcp-Session-Id"]
        for user in ("bob", "alice"):
            async with http.delete(url, headers={"X-User": user, "Mcp-Session-Id": agent}) as answer:
                assert answer.status == {"bob": 404, "alice": 200}[user]
        assert await post(hello, **{"X-User": "alice", "Mcp-Session-Id": agent}) == (404, "no_session")


async def test_one_caller_cannot_take_the_place_of_all_agents(mcp: Server):
    async with aiohttp.ClientSession(headers={**ACCEPT, "X-User": "carol"}) as http:

        async def connect() -> int:
            async with http.post(mcp.url + "mcp", json=INITIALIZE) as answer:
                return answer.status

        # At once: each of them sees fewer than 32 connected when it begins.
        seen = await asyncio.gather(*(connect() for _ in range(64)))
        while 200 in (one := await asyncio.gather(connect())):
            seen += one
        assert sorted(set(seen)) == [200, 429]
        assert seen.count(200) == 32
        async with http.post(mcp.url + "mcp", json=INITIALIZE, headers={"X-User": "dora"}) as answer:
            assert answer.status == 200


async def test_the_process_is_started_again_and_ends_with_the_server(tmp_path: Path):
    # Short: the name of a socket has at most 107 bytes (unix(7)).
    folder = Path(tempfile.mkdtemp(prefix="mcp-"))
    with running_server(tmp_path, TMPDIR=str(folder), **SETTINGS) as server:
        assert process_of(server) is None  # nobody has asked for it
        async with by_http(server.url + "mcp", **{"X-User": "alice"}) as agent:
            assert "python: " in await agent("languages")
        first = process_of(server)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: process_of(server) not in (None, first), 40, "another process")
        async with by_http(server.url + "mcp", **{"X-User": "alice"}) as agent:
            assert "python: " in await agent("languages")
        second = process_of(server)
        server.process.kill()
        server.process.wait()
        await eventually(lambda: not Path(f"/proc/{second}").exists(), 20, "the process's end")
        later = again(server, tmp_path)
        async with by_http(later.url + "mcp", **{"X-User": "alice"}) as agent:
            assert "python: " in await agent("languages")
        third = process_of(later)
        assert (third is not None, later.stop()) == (True, 0)
        await eventually(lambda: not Path(f"/proc/{third}").exists(), 20, "the process's end")
    folder.rmdir()  # which is empty
