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
from tests.web.ordering import again, idle
from tests.web.test_identity import bearer
from tests.web.test_keys import SEEN_SECONDS, keys, known

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
        for method in ("GET", "DELETE"):
            async with http.request(method, url, headers={"X-User": "alice"}) as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, "POST")


COUNTS = """\
import time
for number in range(200):
    print(f"line {number}", flush=True)
    time.sleep(0.02)
print(input("Name? "))
"""


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_killed_server_costs_an_agent_nothing(tmp_path: Path, mode: str):
    """Neither its program's output nor its handle, with both generations of the protocol."""
    with running_server(tmp_path, **SETTINGS) as server:
        async with by_http(server.url + "mcp", mode=mode, **{"X-User": "alice"}) as agent:
            session = (await agent.open())["session"]
            begun = await agent("run", session=session, files={"main.py": COUNTS}, wait=0)
            assert "channel 1:" in begun
            shown = ""
            while "line 20\n" not in shown:
                shown = await agent("screen", session=session, above=1000)
            server.stop(signal.SIGKILL)
            server.process = again(server, tmp_path).process
            # In one piece, as if nothing had been.
            shown = await agent("screen", session=session, above=1000)
            while "Name?" not in shown:
                shown = await agent("screen", session=session, wait=5, above=1000)
            assert shown.startswith("".join(f"line {number}\n" for number in range(200)) + "Name?")
            assert "Name? Ada\nAda\n" in await agent("type", session=session, text="Ada\n", wait=20)
            assert (await agent("list_files", session=session)).endswith(" main.py")
            await agent("close", session=session)
            with pytest.raises(RuntimeError, match="no such session"):
                await agent("screen", session=session)
        await idle(server)


async def test_a_new_process_knows_the_sessions_of_the_one_before(mcp: Server):
    async with by_http(mcp.url + "mcp", **{"X-User": "alice"}) as agent:
        session = (await agent.open())["session"]
        await agent("run", session=session, files={"main.py": "print(6 * 7); input()"})
        first = process_of(mcp)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: process_of(mcp) not in (None, first), 40, "another process")
        assert "42\n" in await agent("screen", session=session)
        assert "ended, exit code 0" in await agent("type", session=session, text="\n", wait=20)
        await agent("close", session=session)


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


async def test_what_an_agent_is_refused_counts_at_its_own_address(tmp_path: Path):
    """Not at that of the process which asks for all agents: who guesses would slow them all down."""
    with running_server(tmp_path, **{**SETTINGS, "LOG_FORMAT": "json"}) as server:
        alice = {"X-User": "alice", "X-Forwarded-For": "198.51.100.7"}
        async with by_http(server.url + "mcp", **alice) as agent:
            session = (await agent.open())["session"]
            with pytest.raises(RuntimeError, match="no such session"):
                await agent("screen", session=f"{'0' * 32}.{'0' * 32}")
            with pytest.raises(RuntimeError, match="no_file"):
                await agent("read_file", session=session, path="none")
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
        refused = [(one["code"], one["address"]) for one in lines if one["msg"] == "request refused"]
        assert refused == [("no_session", "198.51.100.7"), ("no_file", "198.51.100.7")]


async def test_the_end_of_a_key_ends_what_an_agent_waits_for(mcp: Server):
    key = keys(mcp, "add", "to-be-revoked")
    await known(mcp, key)
    batch = {"language": "python", "source": "while True: pass", "cases": [{"stdin": "", "expected": ""}] * 9}
    call = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "batch", "arguments": {"request": batch}},
    }  # fmt: skip
    async with (
        aiohttp.ClientSession(headers={**ACCEPT, **bearer(key)}) as http,
        http.post(mcp.url + "mcp", json=call) as answer,
    ):
        assert answer.status == 200  # the answer has begun
        keys(mcp, "revoke", key.split("_")[1])
        async with asyncio.timeout(SEEN_SECONDS):
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
