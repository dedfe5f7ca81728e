"""Attacks on the WebSocket handshake: malformed and unauthorised upgrade requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from coderunner.attack import raw
from coderunner.attack.case import Case, Group
from coderunner.attack.stage import Stage
from coderunner.client.peer import Unexpected
from coderunner.schema import messages as m

GROUP = Group("handshake")

# Where there are several statuses, a proxy before the server may answer with another one.
# name, what it attacks, headers ({host} is the server's), method and path, the status that must come
_REQUESTS: tuple[tuple[str, str, Mapping[str, str], str, str, tuple[int, ...]], ...] = (
    ("origin-missing", "nothing: a client that is no browser", {}, "GET", "ws", (101,)),
    ("origin-foreign", "the session of a page's visitor",
     {"Origin": "https://evil.example"}, "GET", "ws", (403,)),
    ("origin-null", "the origin check, from a sandboxed frame", {"Origin": "null"}, "GET", "ws", (403,)),
    ("origin-prefix", "the origin check, by a name that begins alike",
     {"Origin": "https://{host}.evil.example"}, "GET", "ws", (403,)),
    ("origin-userinfo", "the origin check, by a name before an @",
     {"Origin": "https://{host}@evil.example"}, "GET", "ws", (403,)),
    ("origin-broken", "the parser of origins", {"Origin": "http://[::1"}, "GET", "ws", (400, 403)),
    ("host-foreign", "a server on loopback, by DNS rebinding",
     {"Host": "evil.example"}, "GET", "ws", (421, 400, 404)),
    ("host-broken", "the parser of hosts", {"Host": "[::1"}, "GET", "ws", (421, 400, 404)),
    ("protocol-missing", "the protocol's negotiation", {"Sec-WebSocket-Protocol": ""}, "GET", "ws", (400,)),
    ("protocol-foreign", "the protocol's negotiation",
     {"Sec-WebSocket-Protocol": "chat, v2"}, "GET", "ws", (400,)),
    ("key-missing", "the handshake", {"Sec-WebSocket-Key": ""}, "GET", "ws", (400, 426)),
    ("key-broken", "the handshake", {"Sec-WebSocket-Key": "AAAA"}, "GET", "ws", (400, 426)),
    ("version-unknown", "the handshake", {"Sec-WebSocket-Version": "99"}, "GET", "ws", (400, 426)),
    ("not-a-websocket", "the handshake", {"Upgrade": "", "Connection": "close"}, "GET", "ws", (400, 426)),
    ("method-post", "the list of routes", {"Content-Length": "0"}, "POST", "ws", (404, 405)),
    ("method-nonsense", "the parser of requests", {}, "G\x07T", "ws", (400,)),
    ("path-climbing", "the server's files", {"Upgrade": "", "Connection": "close"}, "GET",
     "static/../../../etc/passwd", (400, 403, 404)),
    ("path-climbing-encoded", "the server's files", {"Upgrade": "", "Connection": "close"}, "GET",
     "static/%2e%2e/%2e%2e/server/coderunner/cli/__init__.py", (400, 403, 404)),
    ("header-huge", "the parser of requests", {"X-Long": "x" * 100_000}, "GET", "ws", (400, 414, 431)),
    ("body-twice", "the proxy's idea of where a request ends",
     {"Upgrade": "", "Connection": "close", "Content-Length": "5", "Transfer-Encoding": "chunked"},
     "POST", "ws", (400, 404, 405)),
)  # fmt: skip


async def _status(stage: Stage, headers: Mapping[str, str], method: str, path: str) -> str:
    """Sends an upgrade request. Returns the status of the response, as `HTTP 101`."""
    host = stage.url.split("/")[2]
    filled = {name: value.replace("{host}", host) for name, value in headers.items()}
    async with raw.connect(stage.url) as one:
        await one.send(raw.request(stage.url, path, {**stage.headers, **filled}, method=method))
        return f"HTTP {await one.status()}"


def _add(
    name: str, attacks: str, headers: Mapping[str, str], method: str, path: str, statuses: tuple[int, ...]
) -> Case:
    async def script(stage: Stage) -> str:
        return await _status(stage, headers, method, path)

    return Case(name, GROUP.name, attacks, tuple(f"HTTP {status}" for status in statuses), script)


GROUP.cases += [_add(*request) for request in _REQUESTS]


@GROUP.case("credential-guessed", "the administrator's key", "unauthenticated, closed with 4401")
async def _guess(stage: Stage) -> str:
    async with raw.connect(stage.url) as one:
        await one.send(raw.request(stage.url, "ws", {"Authorization": "Bearer guessed"}))
        if await one.status() != 101:
            raise Unexpected("not upgraded")
        await one.until(b'"unauthenticated"')
        return f"unauthenticated, closed with {await one.close_code()}"


@GROUP.case("credential-broken", "the parser of credentials", "unauthenticated, closed with 4401")
async def _broken(stage: Stage) -> str:
    offered = "coderunner.v1, coderunner.bearer.%%%%not-base64%%%%"
    async with raw.connect(stage.url) as one:
        await one.send(raw.request(stage.url, "ws", {"Sec-WebSocket-Protocol": offered}))
        if await one.status() != 101:
            raise Unexpected("not upgraded")
        await one.until(b'"unauthenticated"')
        return f"unauthenticated, closed with {await one.close_code()}"


@GROUP.case(
    "no-session-wanted",
    "the server's patience: sockets that say nothing, only ping, or babble",
    "no_first_message, closed with 4408",
)
async def _silence(stage: Stage) -> str:
    async def wait(babble: tuple[str, ...]) -> str:
        """Sends `babble` each second until the server closes. Returns the last error's code and the close
        code."""
        async with stage.connect() as peer:
            began = asyncio.get_running_loop().time()
            # 15 s: the server waits 10 s for a first message (`web.handshake`), which no other message may
            # prolong.
            while peer.close_code is None and asyncio.get_running_loop().time() < began + 15:
                with contextlib.suppress(ConnectionError):
                    for text in babble:
                        await peer.send_raw(text)
                    if babble:
                        await peer.socket.ping()
                await asyncio.wait({peer.reader}, timeout=1.0)
            codes = [one.code for one in peer.messages if isinstance(one, m.ErrorMessage)]
            return f"{codes[-1] if codes else 'no error'}, closed with {await peer.closed(1)}"

    texts = ('{"type":"ping","t":1}', "{}", '{"type":"kill","channel":1}')
    return " / ".join(sorted(set(await asyncio.gather(wait(()), wait(texts)))))
