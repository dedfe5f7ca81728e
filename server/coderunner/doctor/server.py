"""Checks of a running server as its users reach it: through the reverse proxy, with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from coderunner.client.peer import Peer, Unexpected, random_id
from coderunner.client.visit import PROTOCOL
from coderunner.doctor.findings import FAIL, Finding, fail, guarded, ok, warn
from coderunner.doctor.machine import clock
from coderunner.schema import messages as m
from coderunner.schema.forms import UNIX

SECONDS = 15.0  # for a response
TRIES = 15  # to open a session, one a second, if this address has its maximum of sessions
CERTIFICATE_DAYS = 14.0  # certbot renews thirty days before a certificate expires
CLAIMED = "192.0.2.77"  # from the range for documentation (RFC 5737), which no real client has
SEPARATE_SECONDS = 0.5  # seconds by which two lines printed a second apart must arrive apart
COMPARE = "compare the proxy's configuration with nginx.conf"
SLOWLY = {
    "bash": "echo one; sleep 1; echo two",
    "python": "import time\nprint('one', flush=True)\ntime.sleep(1)\nprint('two')",
}
_UNREACHED = (
    "the proxy cannot reach the server",
    "check that the server is running, at the address that the proxy's configuration names",
)
_TROUBLE = {
    421: (
        "the server does not accept this host name",
        "add it to ALLOWED_HOSTS; the proxy must pass on the Host header unchanged",
    ),
    404: ("there is no CodeRunner at this path", f"give the address of the page, with its path; {COMPARE}"),
    502: _UNREACHED,
    503: ("the server is not running, or is overloaded", "check `systemctl status coderunner`"),
    504: _UNREACHED,
}
"""By HTTP status: what it means, and how to fix it."""


async def checks(url: str, *, through: bool, idle: float, bearer: str = "") -> list[Finding]:
    """Checks a running server.

    `url`: address of the page, or `unix:` and the path of a socket. `through`: also check what a proxy can
    break, with a session that is kept idle for `idle` seconds. `bearer`: token for the server; it is not sent
    if the certificate is invalid.
    """
    found: list[Finding] = []
    base = "http://localhost/" if url.startswith(UNIX) else url if url.endswith("/") else url + "/"
    if base.startswith("https:"):
        with guarded("certificate", found):
            found.append(await asyncio.to_thread(_certificate, base))
    # Without a valid certificate anybody may answer: the credential stays here, and the checks go on.
    verified = not any(one.state == FAIL for one in found)
    async with _http(url, base, bearer if verified else "", verified=verified) as http:
        try:
            date = await _health(http, found)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) or type(error).__name__
            mend = "check `systemctl status coderunner` and `ss -ltnp`"
            return [*found, fail("server", f"{url} does not answer: {why}", mend)]
        if date is None:
            return found
        found.append(clock("clock", date))
        with guarded("ready", found):
            found += await _ready(http)
        if through:
            await _guarded("address", found, _address(http))
        if through and not any(one.check == "ready" and one.state == FAIL for one in found):
            await _guarded("languages", found, _used(http, found, idle))
    return found


async def _used(http: aiohttp.ClientSession, found: list[Finding], idle: float) -> list[Finding]:
    """Uses the server as a client: runs a program, then opens a terminal, one session at a time."""
    language = await _language(http)
    found += await _patient("buffering", lambda: _buffering(http, language))
    return await _patient("websocket", lambda: _websocket(http, language, idle))


async def _patient(check: str, work: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    """Repeats a check while this address has its maximum of sessions, as the session of the check before it
    is still being removed."""
    for left in reversed(range(TRIES)):
        seen: list[Finding] = []
        await _guarded(check, seen, work())
        if not left or not any("too_many_sessions" in one.text for one in seen):
            break
        await asyncio.sleep(1.0)
    return seen


async def _guarded(check: str, found: list[Finding], work: Any) -> None:
    """Adds the findings of `work` to `found`; an error becomes a finding."""
    with guarded(check, found):
        try:
            found += await work
        except (aiohttp.ClientError, TimeoutError, Unexpected) as error:
            found.append(fail(check, str(error) or type(error).__name__, COMPARE))


@contextlib.asynccontextmanager
async def _http(url: str, base: str, bearer: str, *, verified: bool) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client for the server. On loopback it connects from 127.0.0.2, so that the server can tell it
    from a proxy on 127.0.0.1."""
    connector: aiohttp.BaseConnector
    if url.startswith(UNIX):
        connector = aiohttp.UnixConnector(url.removeprefix(UNIX))
    else:
        # All of 127.0.0.0/8 is this machine (RFC 1122, section 3.2.1.3).
        here = ("127.0.0.2", 0) if await asyncio.to_thread(_is_loopback, base) else None
        secured = ssl.create_default_context() if verified else False
        connector = aiohttp.TCPConnector(local_addr=here, ssl=secured)
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    time_out = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(base, connector=connector, headers=headers, timeout=time_out) as http:
        yield http


def _is_loopback(base: str) -> bool:
    """Whether the URL's host is in 127.0.0.0/8, from any address of which this process can connect."""
    parts = urlsplit(base)
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(parts.hostname, parts.port or 0, type=socket.SOCK_STREAM)
        return all(
            ipaddress.ip_address(place[0]) in ipaddress.ip_network("127.0.0.0/8") for *_, place in found
        )
    return False


def _certificate(base: str) -> Finding:
    """Whether the server's certificate is valid, and for how long."""
    parts = urlsplit(base)
    name = parts.hostname or ""
    mend = "run `certbot renew`, then `systemctl reload nginx`"
    try:
        with (
            # Not by aiohttp: it gives the certificate away only after it has been verified.
            socket.create_connection((name, parts.port or 443), SECONDS) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=name) as secured,
        ):
            certificate = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return fail("certificate", f"of {name}: {error.verify_message}", mend)
    except OSError as error:
        return fail("certificate", f"no TLS connection with {name}: {error}", COMPARE)
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86400
    text = f"of {name}, valid for {days:.0f} days"
    return warn("certificate", text, mend) if days < CERTIFICATE_DAYS else ok("certificate", text)


async def _health(http: aiohttp.ClientSession, found: list[Finding]) -> str | None:
    """Requests api/health and adds a finding. Returns the response's Date header; None if it was not
    CodeRunner's."""
    async with http.get("api/health") as answer:
        body = await answer.read()
        document = _json(body)
        if answer.status == 200 and document.get("status") == "ok":
            hours = float(document.get("uptime_s", 0)) / 3600
            found.append(ok("server", f"version {document.get('version')}, up for {hours:.1f} h"))
            return answer.headers.get("Date", "")
    usual = (f"the response has status {answer.status}, and is not CodeRunner's", COMPARE)
    found.append(fail("server", *_TROUBLE.get(answer.status, usual)))
    return None


def _json(body: bytes) -> dict[str, Any]:
    """A body as a JSON object; empty for anything else, as a proxy's error page."""
    with contextlib.suppress(orjson.JSONDecodeError):
        document = orjson.loads(body)
        return document if isinstance(document, dict) else {}
    return {}


_AGENTS = {
    "socket": "the server reaches them over sockets of its own",
    "attach": "the server reaches them over the engine's attach streams, which are slower than sockets",
    "untried": "none was started since the server's start, so it is not known how they are reached",
}


async def _ready(http: aiohttp.ClientSession) -> list[Finding]:
    """Whether the server could start a session, with its own warnings."""
    async with http.get("api/ready") as answer:
        document = _json(await answer.read())
    if not document.get("ready"):
        reasons = "; ".join(document.get("reasons") or ["no reason given"])
        return [fail("ready", f"no session could start now: {reasons}", "see `journalctl -u coderunner`")]
    found = [ok("ready", "a session could start now")]
    # Why it is not the socket is among the warnings.
    if (kind := document.get("agent_stream")) in _AGENTS:
        found.append(ok("agents", _AGENTS[kind]))
    for text in document.get("warnings") or ():
        said, _, mend = str(text).partition(" Fix: ")
        found.append(warn("ready", said, mend or "see `journalctl -u coderunner`"))
    return found


async def _address(http: aiohttp.ClientSession) -> list[Finding]:
    """Whether the server sees the address of its clients, and does not believe what they claim."""
    # Once without and once with the headers, as only the difference shows whether they are believed.
    seen, claimed = [
        _json(await _body(http, "api/address", headers)).get("address", "")
        for headers in ({}, {"X-Forwarded-For": CLAIMED, "X-Real-IP": CLAIMED, "Forwarded": f"for={CLAIMED}"})
    ]
    if claimed == CLAIMED:
        text = "clients can claim any address in a header, and so evade all limits by address"
        mend = "in nginx: `proxy_set_header X-Forwarded-For $remote_addr;`, and pass on no other such header"
        return [fail("address", text, mend)]
    if seen in ("127.0.0.1", "::1"):
        return [fail(
            "address", f"the server sees all clients as {seen}, so they share the limits of one address",
            "name the proxy in TRUSTED_PROXIES, and have it set X-Forwarded-For",
        )]  # fmt: skip
    return [ok("address", f"the server sees this client as {seen}, whatever its headers claim")]


async def _body(http: aiohttp.ClientSession, path: str, headers: dict[str, str]) -> bytes:
    """The body of a response."""
    async with http.get(path, headers=headers) as answer:
        return await answer.read()


async def _language(http: aiohttp.ClientSession) -> str:
    """The name of a language that is ready, one of SLOWLY if possible; "" if none is."""
    async with http.get("api/languages") as answer:
        rows = _json(await answer.read()).get("languages", [])
    ready = [row["name"] for row in rows if row.get("status") == "ready"]
    return next((name for name in SLOWLY if name in ready), ready[0] if ready else "")


async def _websocket(http: aiohttp.ClientSession, language: str, idle: float) -> list[Finding]:
    """Opens a session with a shell, has it echo a line, and keeps it idle."""
    try:
        async with http.ws_connect("ws", protocols=(PROTOCOL,), autoclose=False) as wire:
            peer = Peer(wire)
            try:
                return await _visit(peer, language, idle)
            finally:
                await peer.disconnect()
    except aiohttp.WSServerHandshakeError as error:
        if error.status == 403:
            return [
                fail(
                    "websocket",
                    "connections from this origin are refused",
                    "add it to ALLOWED_ORIGINS; the proxy must pass on the Host header unchanged",
                )
            ]
        text = f"the proxy does not pass on the WebSocket upgrade (status {error.status})"
        return [fail("websocket", text, f"{COMPARE}: Upgrade, Connection, proxy_http_version 1.1")]


async def _visit(peer: Peer, language: str, idle: float) -> list[Finding]:
    """Opens a session with a shell, and keeps it idle. Raises Unexpected."""
    await peer.message(m.Hello)
    began = time.monotonic()
    await peer.send(m.Open(language, peer.client, nonce=random_id()))
    await peer.wait(lambda: peer.opened, 60, "a session")
    opened = time.monotonic() - began
    await peer.send(m.Shell(1, 80, 24))
    # Quoted, so that the terminal's echo of the line does not contain what is waited for.
    await peer.input(1, b"echo o''k\n")
    await peer.until(1, "ok")
    found = [ok("websocket", f"a session opened after {opened * 1000:.0f} ms, and a shell in it answers")]
    with contextlib.suppress(Unexpected):  # raised if the connection stays open, which is the good case
        await peer.closed(idle)
    if peer.close_code is not None:
        text = f"an idle connection was closed within {idle:g} s (close code {peer.close_code})"
        return [*found, fail("idle", text, f"raise proxy_read_timeout above 60 s; {COMPARE}")]
    await peer.send(m.Close())
    await peer.closed()
    return [*found, ok("idle", f"a connection that was idle for {idle:g} s stayed open")]


async def _buffering(http: aiohttp.ClientSession, language: str) -> list[Finding]:
    """Whether two lines that are printed a second apart also arrive apart."""
    source = SLOWLY.get(language)
    if source is None:
        return [ok("buffering", "not checked: neither Bash nor Python is ready")]
    body = orjson.dumps({"language": language, "source": source})
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    came: dict[bytes, float] = {}
    seen = b""
    async with http.post("api/run", data=body, headers=headers) as answer:
        if answer.status != 200:
            text = f"a program was refused with {answer.status}: {(await answer.text())[:200]}"
            return [fail("buffering", text, COMPARE)]
        # iter_any: each piece as it arrives; by lines, aiohttp's own buffer would hide when.
        async for piece in answer.content.iter_any():
            seen += piece
            for word in (b"one", b"two"):
                if word in seen:
                    came.setdefault(word, time.monotonic())
    if len(came) < 2:
        text = f"a program's output did not arrive as events: {seen[-200:].decode(errors='replace')!r}"
        return [fail("buffering", text, COMPARE)]
    apart = came[b"two"] - came[b"one"]
    if apart < SEPARATE_SECONDS:
        text = "the proxy holds output back until a program ends"
        return [fail("buffering", text, f"in nginx: `proxy_buffering off;`; {COMPARE}")]
    return [ok("buffering", f"lines that were printed a second apart arrived {apart:.1f} s apart")]
