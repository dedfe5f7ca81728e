"""Calls of the engine's API that aiodocker's public interface does not have, or not as one request."""

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
    """Requests over `session`, which aiodocker uses as well. `url`: the engine's. `version`: returns the
    negotiated API version, such as `v1.41`. The caller sets the deadline.
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
        """Sends a request; returns the response's JSON as a `kind`.

        `kind`: a class of `schema.engine`, or `object` if the response is not needed. `params`: the query.
        `versioned`: whether the path begins with the API version. Raises DockerError with the engine's
        message, as aiodocker's own calls do (with status NO_ENGINE if the engine cannot be reached),
        aiohttp's errors if the response is incomplete, and ValueError if it is not a `kind`.
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
        # Answers without a body (204) become null, which `object` accepts and every other kind refuses.
        return msgspec.json.decode(answer if is_json else b"null", type=kind)
