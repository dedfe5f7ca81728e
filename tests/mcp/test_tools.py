"""What an agent does with a session, over both transports."""

from __future__ import annotations

import json
import signal

import aiohttp
import pytest

from coderunner.schema import messages as m
from tests.harness import attach, eventually, running_server
from tests.mcp.agents import by_http, by_stdio, listening
from tests.web.ordering import SETTINGS, again, idle

ASKS = "name = input('Name? ')\nprint(f'Hello, {name}!')\n"
PAINTS = "print('\\x1b[2J\\x1b[3;5Hthird line\\x1b[1;1Hfirst', end='', flush=True)\ninput()\n"
pytestmark = pytest.mark.long


def opened_of(page: str) -> m.Opened:
    """The session of a page's address."""
    address, _, behind = page.partition("#")
    assert "token" not in address
    given = dict(part.split("=", 1) for part in behind.split("&"))
    return m.Opened(
        given["session"], given["token"], given["language"], False, m.Expiry(None, 0), m.Isolation("", ""), {}
    )


async def test_an_agent_works_in_a_session_and_hands_it_to_a_person(server):
    async with by_stdio(server) as agent:
        tools = {one.name for one in (await agent.client.list_tools()).tools}
        assert tools == {
            "languages", "open", "run", "shell", "type", "screen", "signal", "take", "list_files",
            "read_file", "write_file", "batch", "close",
        }  # fmt: skip
        assert "python: " in await agent("languages")
        opened = await agent.open()
        session = opened["session"]
        assert "Name?" in await agent("run", session=session, files={"main.py": ASKS})
        shown = await agent("type", session=session, text="Ada\n")
        assert "Name? Ada\nHello, Ada!" in shown
        assert "ended, exit code 0" in shown

        # A terminal is rendered: what stands where, and not the bytes.
        shown = await agent("run", session=session, files={"main.py": PAINTS})
        assert shown.startswith(
            "first\n\n    third line\n---\nchannel 2: running; cursor at line 1, column 6"
        )
        shown = await agent("signal", session=session, name="INT")
        assert "KeyboardInterrupt" in shown

        # On pipes, with its whole input.
        reads = "import sys\nprint(len(sys.stdin.read()))"
        assert "100000" in await agent("run", session=session, files={"main.py": reads}, stdin="x" * 100_000)

        await agent("write_file", session=session, path="a/b.txt", text="ä")
        assert "2 a/b.txt" in await agent("list_files", session=session)
        assert await agent("read_file", session=session, path="a/b.txt") == "ä"
        with pytest.raises(RuntimeError, match="no_file"):
            await agent("read_file", session=session, path="none")
        for tool, more in (("read_file", {}), ("write_file", {"text": ""})):
            with pytest.raises(RuntimeError, match=r"component '\.\.'; write it without \(bad_path\)"):
                await agent(tool, session=session, path="a/../b.txt", **more)

        # A person takes over in the middle of a line, and the agent watches.
        await agent("run", session=session, files={"main.py": ASKS})
        await agent("type", session=session, text="Gra", wait=1)
        async with attach(server, opened_of(opened["page"])) as page:
            channel = max(page.channels)
            await page.wait(lambda: page.channel(channel).text.endswith("Gra"), 15, "what was typed")
            with pytest.raises(RuntimeError, match="a person has the control"):
                await agent("type", session=session, text="x")
            attached = await page.message(m.Attached)
            (view,) = [one for one in attached.channels if one.channel == channel]
            await page.input(channel, b"ce\n", offset=view.input_offset)
            shown = await agent("screen", session=session, wait=10)
            assert "Name? Grace\nHello, Grace!" in shown
            assert "a person has the control" in shown
            await agent("take", session=session)
            assert "person" not in await agent("screen", session=session)

        # The shell of the same session, with keys.
        await agent("shell", session=session)
        assert "b.txt" in await agent("type", session=session, text="ls a", keys=["enter"])
        await agent("type", session=session, text="sleep 1000\n", wait=1)
        assert "^C" in await agent("type", session=session, keys=["ctrl-c"])
        with pytest.raises(RuntimeError, match="no key 'any'"):
            await agent("type", session=session, keys=["any"])
        await agent("close", session=session)
        with pytest.raises(RuntimeError, match="no such session"):
            await agent("screen", session=session)
        request = {
            "language": "python", "source": "print(int(input()) * 2)",
            "cases": [{"stdin": "1\n", "expected": "2\n"}, {"stdin": "2\n", "expected": "5\n"}],
        }  # fmt: skip
        counts = json.loads(await agent("batch", request=request))["counts"]
        assert counts == {"passed": 1, "wrong_answer": 1}
        left = await agent.open("bash")
    # What an agent leaves open ends with it.
    gone = opened_of(left["page"])
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {gone.token}"}) as http:

        async def over() -> bool:
            async with http.get(f"{server.url}api/sessions/{gone.session}") as answer:
                return answer.status == 404

        await eventually(over, 20, "the session's end")


async def test_over_http_each_with_its_own_credential(server):
    with listening(server) as url:
        async with by_http(url) as one, by_http(url) as other:
            opened = await one.open()
            assert "3\n" in await one("run", session=opened["session"], files={"main.py": "print(1 + 2)"})
            with pytest.raises(RuntimeError, match="no such session"):
                await other("screen", session="x" * 22)
        async with by_http(url, Authorization="Bearer unknown") as stranger:
            with pytest.raises(RuntimeError, match="unauthenticated"):
                await stranger.open()
        async with aiohttp.ClientSession() as http:
            ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            accept = {"Accept": "application/json, text/event-stream"}
            for wrong, status in (({"Origin": "https://evil.example"}, 403), ({"Host": "evil.example"}, 421)):
                async with http.post(url, json=ping, headers={**accept, **wrong}) as answer:
                    assert answer.status == status


async def test_a_killed_server_costs_an_agent_nothing(tmp_path):
    with running_server(tmp_path, **SETTINGS) as server:
        async with by_stdio(server) as agent:
            session = (await agent.open())["session"]
            await agent("run", session=session, files={"main.py": ASKS})
            await agent("type", session=session, text="A", wait=1)
            server.stop(signal.SIGKILL)
            server.process = again(server, tmp_path).process
            shown = await agent("type", session=session, text="da\n", wait=20)
            assert "Name? Ada\nHello, Ada!" in shown
            await agent("close", session=session)
        await idle(server)
