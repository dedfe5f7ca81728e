"""HTTP requests to an issuer of tokens, with a deadline, a limit on the answer, and no redirects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from coderunner.errors import IdentityUnavailable

SECONDS = 5.0  # for a whole request, while a user waits
MAX_ANSWER = 256 * 1024  # bytes


class Fetcher:
    """An HTTP client for the issuers. The owner calls `close`."""

    def __init__(self) -> None:
        self._http: aiohttp.ClientSession | None = None

    async def get(self, url: str) -> dict[str, Any]:
        """A JSON document. Raises IdentityUnavailable."""
        status, document = await self._ask("GET", url)
        if status != 200:
            raise IdentityUnavailable(f"the issuer of tokens answers with {status}", retry_after_ms=5000)
        return document

    async def post(
        self, url: str, form: Mapping[str, str], auth: aiohttp.BasicAuth | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Sends a form. Returns (status, JSON document). Raises IdentityUnavailable."""
        return await self._ask("POST", url, data=dict(form), auth=auth)

    async def _ask(self, method: str, url: str, **fields: Any) -> tuple[int, dict[str, Any]]:
        if self._http is None:
            # Made at the first use, as aiohttp wants a running loop. No cookies: requests are of different
            # users.
            timeout = aiohttp.ClientTimeout(total=SECONDS)
            self._http = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        headers = {"Accept": "application/json"}
        try:
            async with self._http.request(
                # A redirect could lead to any address that this machine reaches, with the client's secret in
                # the form.
                method,
                url,
                headers=headers,
                allow_redirects=False,
                **fields,
            ) as answer:
                # read(n) returns what has arrived, which may be less.
                body = await answer.content.read(MAX_ANSWER + 1)
                while len(body) <= MAX_ANSWER and (more := await answer.content.read(MAX_ANSWER)):
                    body += more
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = type(error).__name__
            raise IdentityUnavailable(
                f"the issuer of tokens cannot be asked ({why})", retry_after_ms=5000
            ) from None
        try:
            document = orjson.loads(body) if len(body) <= MAX_ANSWER else None
        except ValueError:
            document = None
        if not isinstance(document, dict):
            # With the status: of a wrong address that is what helps, and its page is no JSON.
            raise IdentityUnavailable(
                f"the issuer of tokens answers with {answer.status} and no JSON object", retry_after_ms=5000
            )
        return answer.status, document

    async def close(self) -> None:
        """Closes its connections."""
        if self._http is not None:
            await self._http.close()
