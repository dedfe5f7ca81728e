"""HTTP requests of a session, with its token."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from coderunner.client.line import Place
from coderunner.client.patience import Away, Patience, Visited, is_own
from coderunner.client.refused import Refused, checked
from coderunner.errors import BadPath
from coderunner.schema import messages as m
from coderunner.schema.paths import check_path

SECONDS = 30.0
_AS_IT_IS = "!#$%&'()*+,/:;=?@[]~"  # characters of a URL that are not quoted, besides letters and digits


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response, read completely."""

    status: int
    headers: Any
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)

    @property
    def own(self) -> bool:
        """Whether it is a CodeRunner's, and not a proxy's or portal's: that of a file is no page."""
        kind = str(self.headers.get("Content-Type", "")).partition(";")[0]
        if self.status < 300:
            return kind in ("application/json", "application/octet-stream")
        return is_own(self.status, self.body.decode(errors="replace"))

    @property
    def error(self) -> str:
        """The code of an error, otherwise the status."""
        return str(self.document["code"]) if self.status >= 400 else str(self.status)

    @property
    def code(self) -> str:
        """The status, followed by the code if it is an error."""
        return f"{self.status} {self.error}" if self.status >= 400 else str(self.status)


async def ask(
    url: str,
    *,
    method: str = "GET",
    body: Any = None,
    headers: dict[str, str] | None = None,
    http: aiohttp.ClientSession | None = None,
) -> Answer:
    """Sends a request to a URL as it is given, with `..` and quoted characters in it. Follows redirects.

    `http`: the session to use; None: a new one. Raises TimeoutError after SECONDS, and aiohttp's errors.
    """
    async with asyncio.timeout(SECONDS), _client(http) as client:
        request = client.request(
            method,
            URL(quote(url, safe=_AS_IT_IS), encoded=True),
            data=body,
            headers=headers,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent") if http is None else (),
        )
        async with request as answer:
            return Answer(answer.status, answer.headers, await answer.read())


@contextlib.asynccontextmanager
async def _client(http: aiohttp.ClientSession | None) -> AsyncIterator[aiohttp.ClientSession]:
    """Yields `http`, or a new session that is closed with the block."""
    if http is not None:
        yield http
        return
    async with aiohttp.ClientSession(auto_decompress=False) as own:
        yield own


def file_route(path: str) -> str:
    """The route of a file in a session. Raises Refused for a path that no file of a session has."""
    try:
        return f"/files/{quote(check_path(checked(path, 'the path')))}"
    except BadPath as error:  # in the server's words, which would be asked for another route
        raise Refused(str(error)) from None


class Rest:
    """Requests of a session. `url`: the server's, with a slash at its end. `opened`: the session's id and
    token. `http`: shared by the requests; None: a new one for each."""

    def __init__(self, url: str, opened: m.Opened | Place, http: aiohttp.ClientSession | None = None) -> None:
        self.url = url
        self.session = opened.session
        self.token = opened.token
        self.http = http

    async def __call__(
        self, method: str, path: str = "", body: Any = None, *, document: Any = None, **headers: str
    ) -> Answer:
        """Sends a request of the session. `path`: what follows the session's address. `document`: a body,
        sent as JSON. Raises as `ask`."""
        if document is not None:
            body = json.dumps(document).encode()
        target = f"api/sessions/{self.session}" + quote(path, safe="/?=&%")
        return await self.ask(method, target, body, **headers)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Sends a request to any path of the server, with the session's token. Raises as `ask`."""
        if self.token:
            headers = {"Authorization": f"Bearer {self.token}", **headers}
        return await ask(self.url + path, method=method, body=body, headers=headers, http=self.http)

    async def paths(self) -> list[str]:
        """The paths of the session's files. Raises as `ask`."""
        return [one["path"] for one in (await self("GET", "/files")).document["files"]]


class PatientRest(Rest):
    """Requests that may be repeated, which is done as `Patience` has it. `visit`: to the server."""

    def __init__(self, visit: Visited, url: str, place: Place, http: aiohttp.ClientSession) -> None:
        super().__init__(url, place, http)
        self._visit = visit

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """As of `Rest`. Raises Refused in place of errors."""
        patience = Patience(self._visit)
        while True:
            error: Exception
            try:
                answer = await super().ask(method, path, body, **headers)
                if answer.own:
                    self._visit.reached = True
                    return answer
                error = Away(self._visit.place, answer.status)
            except (aiohttp.ClientError, OSError, TimeoutError) as failure:
                error = failure
            await patience.wait(error)
