"""`/mcp`: credentials, sessions of others, bodies above each bound, and more requests than there may be."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from coderunner.attack.case import UNTRIED, Group, Script
from coderunner.attack.clients.credentials import CLAIMS, COOKIES, EVIL, SECRETS, token
from coderunner.attack.clients.requests import alike
from coderunner.attack.stage import Stage
from coderunner.client.rest import Answer, ask

GROUP = Group("agents")
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
MOST = 4 * 1024 * 1024  # bytes of a request (docs/agents.md)
DEEP = 100_000
AT_ONCE, OPEN = 200, 128  # requests at once, and how many of one caller are served
NOT_OFFERED = UNTRIED + "the server does not offer /mcp"


def _call(method: str, **parameters: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()


INITIALIZE = _call(
    "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "attack", "version": "1"}
)
TOOLS = _call("tools/list")


def _tool(name: str, **arguments: Any) -> bytes:
    return _call("tools/call", name=name, arguments=arguments)


class Agent:
    """An agent, by requests of `http` with `headers`."""

    def __init__(self, stage: Stage, http: aiohttp.ClientSession, headers: dict[str, str]) -> None:
        self._stage, self._http, self._headers = stage, http, headers

    async def __call__(
        self, body: bytes = TOOLS, *, method: str = "POST", headers: dict[str, str] | None = None
    ) -> Answer:
        """A request of this agent. `headers`: in place of its own."""
        sent = {**HEADERS, **self._headers, **(headers or {})}
        data = body if method == "POST" else None
        return await ask(self._stage.url + "mcp", method=method, body=data, headers=sent, http=self._http)

    async def works(self) -> bool:
        """Whether it is served as at its beginning."""
        answer = await self()
        return answer.status == 200 and b'"read_file"' in answer.body


def _error(answer: Answer) -> str:
    """The code of a refusal by the server, otherwise the status: the process for agents has no codes."""
    refused = answer.headers.get("Content-Type", "").startswith("application/problem+json")
    return answer.error if refused else str(answer.status)


async def _asked(stage: Stage, headers: dict[str, str], body: bytes = INITIALIZE) -> Answer:
    return await ask(stage.url + "mcp", method="POST", body=body, headers={**HEADERS, **headers})


def _where_offered(script: Script) -> Script:
    """Makes the script of a case untried at a server that does not offer `/mcp`."""

    @functools.wraps(script)
    async def tried(stage: Stage) -> str:
        """The case's script, or the outcome that the server does not offer `/mcp`."""
        answer = await ask(stage.url + "mcp", method="POST", body=b"", headers={**HEADERS, **stage.headers})
        return NOT_OFFERED if answer.status == 404 else await script(stage)

    return tried


@contextlib.asynccontextmanager
async def _agent(stage: Stage) -> AsyncIterator[Agent]:
    """An agent of the attack's own credential."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        agent = Agent(stage, http, dict(stage.headers))
        answer = await agent(INITIALIZE)
        if answer.status != 200:
            raise ConnectionError(f"no agent: {answer.code}")
        yield agent


@contextlib.asynccontextmanager
async def _opened(agent: Agent) -> AsyncIterator[str]:
    """The handle of a session of an agent."""
    handle = json.loads(_text(await agent(_tool("open", language="python"))))["session"]
    try:
        yield handle
    finally:
        await agent(_tool("close", session=handle))


@GROUP.case(
    "agents-without-a-credential", "an agent, by a forged credential and by none",
    "unauthenticated; without any as every other request",
)  # fmt: skip
@_where_offered
async def _credentials(stage: Stage) -> str:
    claims = {**CLAIMS, "exp": 4_000_000_000}
    forged = [
        token({"alg": "none"}, claims, None),
        *(token({"alg": "HS256"}, claims, one) for one in SECRETS),
    ]
    wrong = [{"Authorization": f"Bearer {one}"} for one in (*forged, "x", "A" * 4000, secrets.token_hex(16))]
    wrong += [{"Cookie": f"{name}={forged[0]}"} for name in COOKIES]
    seen = []
    for headers in wrong:
        answer = await _asked(stage, headers)
        # A sign-in that nobody has is none: such a caller is who it would be without the cookie.
        if "Cookie" not in headers or answer.status != (await _asked(stage, {})).status:
            seen.append(_error(answer))
    # A request that is refused for its body has passed the check of who asks.
    elsewhere = await ask(stage.url + "api/run", method="POST", body=b"", headers=HEADERS)
    nobody = (await _asked(stage, {})).status != 401
    same = nobody == (elsewhere.status != 401)
    return f"{alike(seen)}; without any {'as every other request' if same else 'another answer'}"


@GROUP.case(
    "agents-of-another-page", "an agent, from a page of another site", "not_allowed"
)  # fmt: skip
@_where_offered
async def _pages(stage: Stage) -> str:
    seen = []
    async with _agent(stage) as agent:
        for origin in (EVIL, "null", "http://localhost.evil.example", "file://"):
            seen.append(_error(await _asked(stage, {**stage.headers, "Origin": origin})))
            seen.append(_error(await agent(headers={"Origin": origin})))
    return alike(seen)


@GROUP.case(
    "agents-guessed", "another's session, by handles near to its own",
    "there is no such session, it works on",
)  # fmt: skip
@_where_offered
async def _guessed(stage: Stage) -> str:
    async with _agent(stage) as agent, _opened(agent) as handle:
        session, _, token = handle.partition(".")
        guesses = [*_near(handle), session, f"{session}.", f"{session}.{session}", f".{token}", ""]
        guesses += ["../x", f"../sessions.{token}", f"{session}/x.{token}", f"{'x' * 64}.{token}"]
        words = set()
        for name in guesses:
            told = _text(await agent(_tool("list_files", session=name)))
            words.add("there is no such session" if "there is no such session" in told else told[:80])
        own = _text(await agent(_tool("list_files", session=handle)))
        alive = "it works on" if own == "" and await agent.works() else "it is cut off"
    return f"{' / '.join(sorted(words))}, {alive}"


def _near(name: str) -> list[str]:
    other = "B" if name[-1] == "A" else "A"
    return [name[:-1] + other, name[:-1], name + "0", name.swapcase(), "0" * len(name), "*", "%00"]


def _text(answer: Answer) -> str:
    """What a tool has said. Answers come as one event of a stream."""
    data = next(line for line in answer.body.splitlines() if line.startswith(b"data: "))
    content = json.loads(data[6:])["result"]["content"]
    return "".join(str(part["text"]) for part in content)


@GROUP.case(
    "agents-of-other-ways", "an agent's requests by other methods, and with names of agents that are none",
    "405; a name changes nothing",
)  # fmt: skip
@_where_offered
async def _ways(stage: Stage) -> str:
    async with _agent(stage) as agent:
        seen = [_error(await agent(method=one)) for one in ("GET", "DELETE", "PUT", "PATCH")]
        named = {
            (await agent(headers={"Mcp-Session-Id": name})).body
            for name in ("", "x", "0" * 32, "../x", "%00", "*", "A" * 4000)
        }
        same = named == {(await agent()).body}
    return f"{alike(seen)}; a name {'changes nothing' if same else 'changes the answer'}"


@GROUP.case(
    "agents-too-large", "the process for agents, by bodies that are too large or too deep",
    "body_too_large, then 400, it works on",
)  # fmt: skip
@_where_offered
async def _large(stage: Stage) -> str:
    deep = b"[" * DEEP + b"]" * DEEP
    bodies = (
        deep,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        TOOLS.replace(b"{}", deep),
        b'{"jsonrpc":"2.0","method":"ping","id":' + b"9" * DEEP + b"}",
        b"[" + b",".join([TOOLS] * 20_000) + b"]",
        b"\xff\xfe", b"", b"null",
    )  # fmt: skip
    async with _agent(stage) as agent:
        large = [
            _error(await agent(b" " * (MOST + 1))),
            _error(await _asked(stage, stage.headers, b" " * (MOST + 1))),
        ]
        wrong = {(await agent(body)).status for body in bodies}
        works = await agent.works()
    told = " / ".join(map(str, sorted(wrong)))
    return f"{alike(large)}, then {told}, {'it works on' if works else 'it is cut off'}"


@GROUP.case(
    "agents-flood", "the requests of other agents, by many at once that wait",
    f"{OPEN} at most, others rate_limited; it works on",
)  # fmt: skip
@_where_offered
async def _flood(stage: Stage) -> str:
    async with _agent(stage) as agent, _opened(agent) as handle:
        await agent(_tool("run", session=handle, files={"main.py": "input()"}, wait=0))
        waits = _tool("screen", session=handle, wait=5)
        answers = await asyncio.gather(*(agent(waits) for _ in range(AT_ONCE)))
        served = sum(one.status == 200 for one in answers)
        refused = Counter(_error(one) for one in answers if one.status != 200)
        works = await agent.works()
    most = f"{OPEN} at most" if 0 < served <= OPEN else f"{served} of {AT_ONCE}"
    return (
        f"{most}, others {' / '.join(sorted(refused)) or 'none'};"
        f" {'it works on' if works else 'it is cut off'}"
    )
