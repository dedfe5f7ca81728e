"""`/mcp`: sessions as tools for agents over MCP, served by a child process.

The official SDK is made for ASGI, brings a second web framework, and renders terminals in Python. In a
separate process it delays neither the start of the server nor a keystroke. This module identifies the caller,
limits its requests, and forwards each request with a ticket in place of the credential.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
from aiohttp import web

from coderunner.errors import CannotStart, InternalError, NotAllowed, RateLimited
from coderunner.fleet.opening import Caller
from coderunner.logs import fields
from coderunner.web import guard
from coderunner.web.api.events import LOOK_SECONDS
from coderunner.web.api.runs import BODIES
from coderunner.web.api.sending import SENDING
from coderunner.web.keys import PARTS

log = logging.getLogger(__name__)

PATH = "/mcp"
MAX_BODY = 4 * 1024 * 1024  # bytes of a request; the process has the same limit
START_SECONDS = 30.0  # for the process to listen: it imports for two seconds on an idle core
SILENCE_SECONDS = 120.0  # the process sends a comment every 15 seconds
MAX_OPEN = 512  # requests at one time
MAX_OPEN_OF_ONE = 128  # of one caller
END_SECONDS = 5.0  # for the process to end
PIECE = 64 * 1024
# What of a request and an answer is passed on; all others are between two neighbours.
ASKED = ("Accept", "Content-Type")
TOLD = ("Content-Type", "Cache-Control", "Allow")
KEPT_ENVIRONMENT = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


class Mcp:
    """The route, and the process behind it, which starts with the first request."""

    def __init__(self) -> None:
        self._wanted, self._listens = asyncio.Event(), asyncio.Event()
        self._http: aiohttp.ClientSession | None = None
        self._open: Counter[str] = Counter()

    # --- the process -------------------------------------------------------------------------------------

    async def run(self, url: str) -> None:
        """Starts the process at the first request, and restarts it when it ends. `url`: where it reaches this
        server."""
        while True:
            await self._wanted.wait()
            process, folder = await asyncio.to_thread(_started, url)
            try:
                await self._serve(process, folder / "socket")
            finally:
                self._listens.clear()
                # Its end of the pipe ends it as well, also if this server is killed.
                assert process.stdin is not None
                process.stdin.close()
                process.terminate()
            await asyncio.to_thread(_ended, process, folder)
            log.warning("the process for agents has ended", extra=fields(code=process.returncode))
            await asyncio.sleep(1.0)

    async def _serve(self, process: subprocess.Popen[bytes], path: Path) -> None:
        """Serves until the process ends. Its standard error is written to the log."""
        said = asyncio.StreamReader(limit=PIECE)
        reading = asyncio.StreamReaderProtocol(said)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: reading, process.stderr)
        connector = aiohttp.UnixConnector(str(path), limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_SECONDS)
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as self._http:
                while line := await said.readline():
                    if line.strip() == b"listening":
                        self._listens.set()
                    else:
                        told = line.decode(errors="replace").strip()[:1000]
                        log.warning("the process for agents says", extra=fields(line=told))
        finally:
            transport.close()

    # --- requests ----------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forwards a request to the process, and streams its answer back."""
        parts = request.app[PARTS]
        host = request.headers.get("Host", "")
        # As for WebSockets: other sites' pages must not reach a server in the browser's network.
        if not guard.origin_allowed(parts.settings, request.headers.get("Origin"), host):
            raise NotAllowed("pages of this origin are not allowed; see ALLOWED_ORIGINS")
        caller = await guard.caller(parts, request)
        caller.who.require("run")
        owner = caller.principal or caller.address
        with self._counted(owner):
            body = await request.app[BODIES].read_bytes(request, caller.address, MAX_BODY)
            self._wanted.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_SECONDS):
                    await self._listens.wait()
            if not self._listens.is_set() or self._http is None:
                raise InternalError("the process for agents does not start; see the server's log")
            with parts.tickets.issued(caller) as ticket:
                return await self._passed(request, caller, ticket, body)

    async def _passed(
        self, request: web.Request, caller: Caller, ticket: str, body: bytes
    ) -> web.StreamResponse:
        assert self._http is not None
        headers = {name: request.headers[name] for name in ASKED if name in request.headers}
        headers |= {name: value for name, value in request.headers.items() if name.lower().startswith("mcp-")}
        headers |= {"Authorization": f"Bearer {ticket}", "X-CodeRunner-Page": _page(request)}
        sending = request.app[SENDING]
        try:
            asked = self._http.request(request.method, f"http://localhost{PATH}", data=body, headers=headers)
            async with asked as answer:
                told = {name: answer.headers[name] for name in TOLD if name in answer.headers}
                told["X-Accel-Buffering"] = "no"  # nginx would collect events until its buffer is full
                response = web.StreamResponse(status=answer.status, headers=told)
                await response.prepare(request)
                async for piece in _pieces(request, answer):
                    await sending.send(caller.address, response, piece)
                await response.write_eof()
                return response
        except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError):
            # The process has ended, and the next one does not listen yet. After the headers were sent, the
            # connection is cut instead.
            raise InternalError("the process for agents has just ended; repeat the request") from None

    @contextlib.contextmanager
    def _counted(self, owner: str) -> Iterator[None]:
        if self._open.total() >= MAX_OPEN or self._open[owner] >= MAX_OPEN_OF_ONE:
            raise RateLimited("too many requests of agents are open", retry_after_ms=2000)
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]


def install(app: web.Application) -> Mcp:
    """Adds the route. Raises CannotStart without the SDK."""
    for name in ("mcp", "pyte"):
        if importlib.util.find_spec(name) is None:
            raise CannotStart(f"MCP=on needs the library {name}: pip install 'coderunner[mcp]', or MCP=off")
    mcp = Mcp()
    # No others: there is nothing that an agent could listen to (GET) or end (DELETE).
    app.router.add_post(PATH, mcp.handle)
    return mcp


def _page(request: web.Request) -> str:
    """The URL of the page, as this caller sees it; "" if it is not known."""
    settings = request.app[PARTS].settings
    place = guard.place(settings, request, PATH)
    scheme = guard.own_origin(settings, request).partition(":")[0]
    return f"{scheme}://{place.removesuffix(PATH)}" if place else ""


async def _pieces(request: web.Request, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yields the answer as it arrives. Raises Unauthenticated if the caller's key ends meanwhile: what the
    process asks for its caller has a ticket or a session's token in place of that key."""
    while True:
        guard.check_still(request.app[PARTS], request)
        try:
            async with asyncio.timeout(LOOK_SECONDS) as look:
                piece = await answer.content.read(PIECE)
        except TimeoutError:
            if not look.expired():  # it is that of the connection
                raise
            continue
        if not piece:
            return
        yield piece


def _started(url: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Starts the process. Returns it and the folder of its socket, which it removes when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="coderunner-mcp-"))  # for this user alone
    # Only what Python needs of the environment: the settings contain secrets.
    given = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    given |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    listen = f"unix:{folder / 'socket'}"
    words = ("--env-file", os.devnull, "mcp", "--of-server", "--url", url, "--listen", listen)
    process = subprocess.Popen(
        [sys.executable, "-m", "coderunner", *words],
        env=given,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C goes to the server only, which then ends the process
    )
    return process, folder


def _ended(process: subprocess.Popen[bytes], folder: Path) -> None:
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(END_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)  # still there if the process was killed
