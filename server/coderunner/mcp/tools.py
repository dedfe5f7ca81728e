"""The tools that agents are offered."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

import coderunner
from coderunner.mcp.backend import PAUSE, Backend, Refused, quoted
from coderunner.mcp.held import Held

MAX_SESSIONS = 64  # of one process
IDLE_SECONDS = 1800.0  # after which a session that no agent asks for is not followed any more
MOST_SECONDS = 60.0  # that a tool waits for a program
MAX_READ = 256 * 1024  # bytes of a file that are returned
BATCH_TRIES = 40  # of 90 seconds at most
PAGE = "x-coderunner-page"  # header of a request that the server has passed on
COLS, ROWS = 80, 24
INSTRUCTIONS = """\
Runs programs in containers of a CodeRunner server. `open` a session of a language, then `run` files or open a
`shell`, `type` into it and read its `screen`, as a person at a terminal would. Sessions keep their files. The
page's address that `open` returns shows the same session to a person, who may take the control in the middle
of it. `close` it at the end."""
KEYS = {
    "enter": b"\r", "tab": b"\t", "escape": b"\x1b", "backspace": b"\x7f", "up": b"\x1b[A", "down": b"\x1b[B",
    "right": b"\x1b[C", "left": b"\x1b[D", "home": b"\x1b[H", "end": b"\x1b[F", "delete": b"\x1b[3~",
    "page-up": b"\x1b[5~", "page-down": b"\x1b[6~",
}  # fmt: skip
NO_SESSION = "there is no such session; `open` returns the handle of one"
# A session's name and token. Such a name is no path of its own in an address, such as `..`.
_HANDLE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,127})\.([A-Za-z0-9_-]{1,64})")
_CONTROL = re.compile(r"ctrl-([a-z\[\\\]^_])")

Session = Annotated[str, Field(description="the handle that `open` returned")]
Seconds = Annotated[
    float, Field(ge=0, le=MOST_SECONDS, description="how long to wait for its end or its output")
]
Channel = Annotated[int | None, Field(description="which program; the latest one by default")]


class Sessions:
    """The sessions that agents have open, by handle: a session's name and token, so that a handle is good for
    as long as its session lives, and also in the process that comes after this one.

    `most`: sessions that are followed at one time.
    """

    def __init__(self, backend: Backend, page: str, bearer: str, most: int) -> None:
        self.backend, self._page, self._bearer, self._most = backend, page.rstrip("/"), bearer, most
        self._held: dict[str, Held] = {}

    def credential(self, context: Context[Any, Any]) -> str:
        """The credential of a request over HTTP; otherwise the one that the command was given."""
        given = (context.headers or {}).get("authorization", "")
        return given[7:].strip() if given.lower().startswith("bearer ") else self._bearer

    def page(self, context: Context[Any, Any]) -> str:
        """Where people open a session: as the server tells that has passed the request on, else as the
        command was told."""
        told = (context.headers or {}).get(PAGE, "")
        return told.rstrip("/") or self._page

    async def open(self, bearer: str, language: str, files: list[dict[str, str]]) -> tuple[str, str]:
        """Opens a session; returns its handle, and its part of the page's address. Raises Refused,
        ToolError."""
        self._make_space()
        key = {"Idempotency-Key": secrets.token_urlsafe(24)}
        body = {"language": language, "files": files}
        while True:
            told = await self.backend.ask("POST", "/api/sessions?wait=30", bearer, body=body, headers=key)
            if "session" in told:
                break
        session, token = told["session"], told["token"]
        handle = f"{session}.{token}"
        self._held[handle] = Held(self.backend, session, token)
        return handle, f"session={session}&token={token}&language={told['language']}"

    def _make_space(self) -> None:
        """Forgets sessions that are over or that nobody asks for. Raises ToolError if there are too many."""
        gone = asyncio.get_running_loop().time() - IDLE_SECONDS
        for handle, held in list(self._held.items()):
            if held.used < gone or (held.ended and len(self._held) >= self._most):
                del self._held[handle]
                held.leave()
        if len(self._held) >= self._most:
            raise ToolError(f"{self._most} sessions are open here already; close one first")

    async def find(self, handle: str) -> Held:
        """The session of a handle. Raises ToolError."""
        held = self._held.get(handle)
        if held is None:
            named = _HANDLE.fullmatch(handle)
            if named is None:
                raise ToolError(NO_SESSION)
            self._make_space()
            held = self._held[handle] = Held(self.backend, *named.groups())
        await held.known()
        if held.ended and not held.attached:
            self._held.pop(handle, None)
            raise ToolError(NO_SESSION)
        held.used = asyncio.get_running_loop().time()
        return held

    async def close(self, handle: str) -> None:
        """Ends a session. Raises ToolError."""
        held = await self.find(handle)
        self._held.pop(handle, None)
        await held.close()

    async def close_all(self) -> None:
        """Ends all sessions."""
        for held in self._held.values():
            await held.close()

    def leave_all(self) -> None:
        """Forgets all sessions, which go on."""
        for held in self._held.values():
            held.leave()


@asynccontextmanager
async def tools(
    url: str, page: str, bearer: str, *, most: int = MAX_SESSIONS, ends: bool = True
) -> AsyncIterator[MCPServer[Any]]:
    """The MCP server for the CodeRunner server at `url`.

    `page`: the address of the page for people. `bearer`: the credential of callers that send none.
    `most`: sessions at one time. `ends`: whether its sessions end with it; otherwise they go on, and so do
    their handles.
    """
    async with Backend(url) as backend:
        sessions = Sessions(backend, page, bearer, most)
        server: MCPServer[Any] = MCPServer(
            "coderunner", version=coderunner.__version__, instructions=INSTRUCTIONS, log_level="WARNING"
        )
        for kind in (_Programs, _Files, _Others):
            kind(sessions).add(server)
        try:
            yield server
        finally:
            if ends:
                await sessions.close_all()
            else:
                sessions.leave_all()


class _Tools:
    """Tools are the public methods; their docstrings are what agents read."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def add(self, server: MCPServer[Any]) -> None:
        """Offers them."""
        for name in vars(type(self)):
            if not name.startswith("_"):
                server.add_tool(_told(getattr(self, name)), structured_output=False)

    def _program(self, held: Held, channel: int | None) -> int:
        number = max(held.programs, default=0) if channel is None else channel
        if number not in held.programs:
            raise ToolError("the session has no such program; `run` one, or open a `shell`")
        return number


def _told(method: Any) -> Any:
    """The method, whose refusals by the server become errors that the agent reads."""

    @functools.wraps(method)
    async def wrapped(*args: Any, **fields: Any) -> Any:
        try:
            return await method(*args, **fields)
        except Refused as refused:
            raise ToolError(f"{refused} ({refused.code})" if refused.code else str(refused)) from None

    return wrapped


class _Programs(_Tools):
    async def run(
        self,
        session: Session,
        files: Annotated[dict[str, str], Field(description="files to write first, by path")] = {},  # noqa: B006
        entry: Annotated[
            str | None, Field(description="the file to run; the language's own by default")
        ] = None,
        args: list[str] = [],  # noqa: B006
        stdin: Annotated[str | None, Field(description="its whole input: it has no terminal then")] = None,
        wait: Seconds = 10.0,
        cols: Annotated[int, Field(ge=2, le=1000)] = COLS,
        rows: Annotated[int, Field(ge=2, le=1000)] = ROWS,
    ) -> str:
        """Runs a program on a terminal (or with `stdin`), after compiling it where its language has a
        compiler. Returns what it shows once it has ended or waits."""
        held = await self._sessions.find(session)
        body: dict[str, Any] = {"mode": "tty" if stdin is None else "pipe", "args": args}
        body["files"] = [{"path": path, "content": text} for path, text in files.items()]
        if entry is not None:
            body["entry"] = entry
        number = await held.start("run", cols, rows, stdin is None, **body)
        if stdin is not None:
            data = stdin.encode()
            await held.type(number, data)
            await held.act("input", channel=number, offset=len(data), eof=True)
        await held.settled(number, wait)
        return held.shown(number)

    async def shell(
        self,
        session: Session,
        prompt: Annotated[bool, Field(description="the language's own prompt instead")] = False,
        wait: Seconds = 5.0,
        cols: Annotated[int, Field(ge=2, le=1000)] = COLS,
        rows: Annotated[int, Field(ge=2, le=1000)] = ROWS,
    ) -> str:
        """Opens a shell in the session's container, beside its programs."""
        held = await self._sessions.find(session)
        number = await held.start("shell", cols, rows, True, repl=prompt)
        await held.settled(number, wait)
        return held.shown(number)

    async def type(
        self,
        session: Session,
        text: str = "",
        keys: Annotated[
            list[str],
            Field(description=f"keys to press after the text: {', '.join(KEYS)}, or ctrl- and a letter"),
        ] = [],  # noqa: B006
        channel: Channel = None,
        wait: Seconds = 5.0,
    ) -> str:
        """Types text (a newline in it is the Enter key), then keys. Returns the screen once the program waits
        again."""
        held = await self._sessions.find(session)
        number = self._program(held, channel)
        data = text.encode() + b"".join(map(_key, keys))
        try:
            await held.type(number, data)
        except Refused as refused:
            if refused.code != "not_control":
                raise
            raise ToolError("a person has the control now; watch with `screen`, or `take` it back") from None
        await held.settled(number, wait)
        return held.shown(number)

    async def screen(
        self,
        session: Session,
        channel: Channel = None,
        wait: Annotated[float, Field(ge=0, le=MOST_SECONDS, description="wait for more output first")] = 0.0,
        above: Annotated[int, Field(ge=0, le=1000, description="lines of the history above the screen")] = 0,
    ) -> str:
        """What a person would see of the program now: its screen, its state, and who has the control."""
        held = await self._sessions.find(session)
        number = self._program(held, channel)
        if wait:
            await held.settled(number, wait)
        return held.shown(number, above)

    async def signal(
        self,
        session: Session,
        name: Annotated[str, Field(description="INT, TERM, QUIT, HUP, KILL, TSTP, CONT, USR1 or USR2")],
        channel: Channel = None,
        wait: Seconds = 2.0,
    ) -> str:
        """Sends a signal to the program in the foreground."""
        held = await self._sessions.find(session)
        number = self._program(held, channel)
        await held.act("signal", again=False, channel=number, name=name)
        await held.settled(number, wait)
        return held.shown(number)


class _Files(_Tools):
    async def list_files(self, session: Session) -> str:
        """The session's files, one a line: size and path; folders end with a slash."""
        held = await self._sessions.find(session)
        told = await held.ask("GET", "/files")
        lines = [
            f"{one['path']}/" if one["folder"] else f"{one['size']} {one['path']}" for one in told["files"]
        ]
        return "\n".join(lines + ([] if told["complete"] else ["[there are more]"]))

    async def read_file(self, session: Session, path: str, offset: Annotated[int, Field(ge=0)] = 0) -> str:
        """A file's text, at most 256 KiB (262144 bytes) from `offset` on; of other files base64 behind
        `base64:`. "" at the file's end."""
        held = await self._sessions.find(session)
        span = {"Range": f"bytes={offset}-{offset + MAX_READ + 2}"}
        try:
            data = await held.ask("GET", f"/files/{quoted(path)}", headers=span)
        except Refused as refused:
            if refused.status == 416:  # there is nothing at this offset (RFC 9110)
                return ""
            raise
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        return shown_part(data, inside=offset > 0)

    async def write_file(self, session: Session, path: str, text: str) -> str:
        """Writes a file, and the folders above it; what was there is replaced."""
        held = await self._sessions.find(session)
        told = await held.ask("PUT", f"/files/{quoted(path)}", data=text.encode())
        return f"{told['size']} bytes in {told['path']}"


def shown_part(data: bytes, *, inside: bool) -> str:
    """At most MAX_READ bytes of a file as text, otherwise as base64. `data`: three bytes more, where there
    are. `inside`: whether there is more before them.

    A character belongs to the part in which it begins: parts that follow each other make the whole text.
    """

    def continues(at: int) -> bool:
        # 10xxxxxx continues a character, which has at most four bytes (RFC 3629).
        return data[at] & 0xC0 == 0x80

    begin, end = 0, min(MAX_READ, len(data))
    while inside and begin < min(3, end) and continues(begin):
        begin += 1
    while end < len(data) and continues(end):
        end += 1
    try:
        return data[begin:end].decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(data[:MAX_READ]).decode()


class _Others(_Tools):
    async def languages(self) -> str:
        """The server's languages, one a line: name, title, version, and whether it is ready."""
        told = await self._sessions.backend.ask("GET", "/api/languages")
        return "\n".join(
            f"{one['name']}: {one['title']} {one['version']}, {one['status']}" for one in told["languages"]
        )

    async def open(
        self,
        context: Context[Any, Any],
        language: Annotated[str, Field(description="a name that `languages` lists")],
        files: Annotated[dict[str, str], Field(description="files to begin with, by path")] = {},  # noqa: B006
    ) -> str:
        """Opens a session: a container of its own with a workspace. Returns its handle as `session`, and the
        address of the page for a person, who may watch there, type, and hand back."""
        sessions = self._sessions
        given = [{"path": path, "content": text} for path, text in files.items()]
        handle, named = await sessions.open(sessions.credential(context), language, given)
        page = f"{sessions.page(context)}/#{named}"
        return json.dumps({"session": handle, "language": language, "page": page})

    async def take(self, session: Session) -> str:
        """Takes the control of the session back from a person, who watches from then on."""
        held = await self._sessions.find(session)
        await held.act("take")
        return "the control is yours"

    async def batch(
        self,
        context: Context[Any, Any],
        request: Annotated[
            dict[str, Any],
            Field(description="the body of POST /api/batch: language, source or files, cases, checker"),
        ],
    ) -> str:
        """Compiles one program and runs it with many inputs, in sessions of its own; returns a verdict for
        each."""
        sessions = self._sessions
        bearer, ask = sessions.credential(context), sessions.backend.ask
        key = {"Idempotency-Key": secrets.token_urlsafe(24)}
        for _ in range(BATCH_TRIES):
            try:
                told = await ask("POST", "/api/batch", bearer, body=request, headers=key, again=False)
                return json.dumps(told)
            except Refused as refused:
                if refused.status and not refused.document.get("retryable"):
                    raise
            await asyncio.sleep(PAUSE)  # the same key: it goes on with the same batch
        raise ToolError("the batch took too long, or the server cannot be reached any more")

    async def close(self, session: Session) -> str:
        """Ends the session, with its programs and files."""
        await self._sessions.close(session)
        return "closed"


def _key(name: str) -> bytes:
    """The bytes that a terminal sends for a key. Raises ToolError."""
    found = _CONTROL.fullmatch(name.lower())
    if found is not None:
        return bytes([ord(found[1].upper()) & 0x1F])
    if name.lower() not in KEYS:
        raise ToolError(f"there is no key {name!r}; there are {', '.join(KEYS)}, and ctrl- with a letter")
    return KEYS[name.lower()]
