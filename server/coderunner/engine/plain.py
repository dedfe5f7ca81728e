"""Calls of the engine's API that aiodocker's public interface has not, or not in one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec
import orjson
from aiodocker.exceptions import DockerError

from coderunner.engine.faults import NO_ENGINE
from coderunner.schema.engine import Refusal

T = TypeVar("T")


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
        kind: type[T],
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        versioned: bool = True,
    ) -> T:
        """The answer's JSON as a `kind`, one of `schema.engine`; `object` for an answer that is not needed.

        Raises DockerError with the engine's words, as aiodocker's own calls do (of status NO_ENGINE where
        nobody answers), what aiohttp raises where the answer breaks off, and
        ValueError for one that is no `kind`.
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
            words = answer.decode("utf-8", "replace")
            raise DockerError(
                response.status, msgspec.json.decode(answer, type=Refusal).message if is_json else words
            )
        return msgspec.json.decode(answer if is_json else b"null", type=kind)
