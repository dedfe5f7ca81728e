"""Requests to the server, repeated through its restarts."""

from __future__ import annotations

import asyncio
import json
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

import aiohttp

from coderunner.errors import BadPath
from coderunner.schema.forms import UNIX
from coderunner.schema.paths import check_path

REQUEST_SECONDS = 90.0  # longer than the server lets a request wait (60 s)
# A restart of the server takes some seconds.
RETRY_SECONDS = 30.0  # seconds for which a server that is away or full is asked again
PAUSE = 0.5  # seconds between two attempts
# The largest answer is a file (MAX_ARCHIVE_SIZE, 16 MiB by default), in base64 a third more.
MOST_BYTES = 24 * 1024 * 1024  # of an answer


TICKET: ContextVar[str] = ContextVar("ticket", default="")
"""Under which the server that has passed on a request knows its caller; "" elsewhere."""


class Refused(Exception):
    """What the server said no with. `code`: of docs/protocol.md, "" where it is another's; `document`: the
    problem document."""

    def __init__(self, message: str, status: int = 0, document: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.document = document or {}
        self.code = str(self.document.get("code", ""))


class Backend:
    """The server at `url`, or at `unix:` and the path of a socket. An async context manager."""

    def __init__(self, url: str) -> None:
        self._socket = url.removeprefix(UNIX) if url.startswith(UNIX) else None
        self.url = url.rstrip("/") if self._socket is None else "http://localhost"
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Backend:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        connector = (
            aiohttp.TCPConnector(limit=0)
            if self._socket is None
            else aiohttp.UnixConnector(self._socket, limit=0)
        )
        self._http = aiohttp.ClientSession(timeout=timeout, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.close()

    async def ask(
        self,
        method: str,
        path: str,
        bearer: str = "",
        *,
        body: Any = None,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        again: bool = True,
    ) -> Any:
        """A request's answer as JSON, of another media type as bytes. `path` begins with `/`.

        `body`: sent as JSON; `data`: as it is. `again`: whether it may be sent twice; it is then repeated for
        RETRY_SECONDS while the server is away or says that the same may succeed later. Raises Refused.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + RETRY_SECONDS
        sent = dict(headers or {})
        if ticket := TICKET.get():
            sent["X-CodeRunner-Ticket"] = ticket
        if bearer:
            sent["Authorization"] = f"Bearer {bearer}"
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        while True:
            try:
                return await self._once(method, path, data, sent)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                refused = Refused(
                    f"the server at {self.url} does not answer: {error or type(error).__name__}"
                )
            except Refused as error:
                refused = error
                # 503 alone: any other refusal stays the same when the request is repeated.
                if error.status != 503 or not error.document.get("retryable"):
                    raise
            if not again or loop.time() > due:
                raise refused
            await asyncio.sleep(PAUSE)

    async def _once(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Any:
        assert self._http is not None
        async with self._http.request(method, self.url + path, data=data, headers=headers) as answer:
            # read(n) returns what has arrived, which may be less.
            content = await answer.content.read(MOST_BYTES)
            while not answer.content.at_eof() and len(content) < MOST_BYTES:
                content += await answer.content.read(MOST_BYTES - len(content))
            if answer.status >= 400:
                raise _refused(answer.status, content, self.url)
            if answer.content_type == "application/json":
                return json.loads(content)
            return content


def _refused(status: int, content: bytes, url: str) -> Refused:
    try:
        document = json.loads(content)
        return Refused(str(document["detail"]), status, document)
    except (ValueError, KeyError, TypeError):
        return Refused(f"no CodeRunner answers at {url}, but {status}", status)


def quoted(path: str) -> str:
    """A file's path as a part of an address. Raises Refused for one that a workspace cannot have: `..` in an
    address would name something else."""
    try:
        return quote(check_path(path), safe="/")
    except BadPath as error:
        raise Refused(error.message, document={"code": error.code}) from None
