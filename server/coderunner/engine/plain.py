"""Calls of the engine's API that aiodocker's public interface has not, or not in one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import orjson
from aiodocker.exceptions import DockerError

from coderunner.engine.faults import NO_ENGINE


class PlainCalls:
    """Requests over the session that aiodocker uses as well.

    `version`: the API version in force, as `v1.41`. Whoever calls sets the deadline.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, version: Callable[[], str]) -> None:
        self._session = session
        self._url = url
        self._version = version

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        versioned: bool = True,
    ) -> Any:
        """The answer's JSON; None where there is none.

        Raises DockerError with the engine's words, as aiodocker's own calls do (of status NO_ENGINE where
        nobody answers), what aiohttp raises where the answer breaks off, ValueError for one that is no JSON.
        """
        base = f"{self._url}/{self._version()}" if versioned else self._url
        data = orjson.dumps(body) if body is not None else None
        headers = {"Content-Type": "application/json"}
        try:
            response = await self._session.request(
                method, f"{base}/{path}", params=params, data=data, headers=headers
            )
        except TimeoutError:
            raise
        except aiohttp.ClientConnectionError as error:
            raise DockerError(NO_ENGINE, f"cannot connect: {error}") from error
        async with response:
            answer = await response.read()
        is_json = response.content_type == "application/json"
        if response.status >= 400:
            message = orjson.loads(answer)["message"] if is_json else answer.decode("utf-8", "replace")
            raise DockerError(response.status, message)
        return orjson.loads(answer) if is_json else None
