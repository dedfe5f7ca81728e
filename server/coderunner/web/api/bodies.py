"""Reads the bodies of requests without a session, with limits on memory for each address and in all."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from coderunner.core import codec
from coderunner.core.shares import Shares
from coderunner.errors import BadJson, BadMedia, BadMessage, BodyTooLarge, RateLimited
from coderunner.schema.check import NotJson, S, read_json
from coderunner.web import guard
from coderunner.web.files import body_pieces
from coderunner.web.keys import PARTS

T = TypeVar("T")

HELD = 64 * 1024 * 1024  # bytes of all bodies that are being read
HELD_BY_ONE = 16 * 1024 * 1024  # of one address; wider networks have more (`core.shares`)
# Bytes of a body that is parsed on the loop: this takes at most 5 ms, even if every value is invalid.
AT_ONCE = 8 * 1024


class Bodies:
    """Counts the bytes of bodies that are being read, by the networks of the address."""

    def __init__(self) -> None:
        self._shares = Shares(HELD_BY_ONE, HELD)
        self._reading = asyncio.Lock()

    @property
    def held(self) -> int:
        """Bytes of all bodies that are being read."""
        return self._shares.total

    @contextlib.contextmanager
    def _room(self, address: str) -> Iterator[list[int]]:
        mine = [0]
        try:
            yield mine
        # Given back in any case, also when the request is cancelled.
        finally:
            self._shares.add(address, -mine[0])

    async def read(
        self, request: web.Request, address: str, kind: type[S], maximum: int, values: int = codec.MAX_VALUES
    ) -> S:
        """Reads a JSON body and returns it as a `kind`.

        `address`: the caller's. `maximum`: the most bytes. `values`: the most JSON values, which are counted
        before anything is parsed. Raises BadMedia, BodyTooLarge, TooSlow, RateLimited, BadJson,
        Unauthenticated where the caller's key has ended meanwhile, and BadMessage with the problems of the
        body.
        """
        # Also a protection: a form of another site cannot have this type without asking first (CORS).
        if request.content_type != "application/json":
            raise BadMedia("send the body as JSON, with Content-Type: application/json")
        return await self._read(request, address, maximum, values, functools.partial(_parsed, kind))

    async def read_any(
        self, request: web.Request, address: str, maximum: int, values: int = codec.MAX_VALUES
    ) -> Any:
        """As `read`, whatever the type of the body and of its value; raises no BadMedia."""
        return await self._read(request, address, maximum, values, _any)

    async def read_bytes(self, request: web.Request, address: str, maximum: int) -> bytes:
        """As `read_any`, for a body that is not JSON: its bytes."""
        with self._room(address) as mine:
            data = bytearray()
            async for piece in self._counted(request, address, mine):
                data += piece
                if len(data) > maximum:
                    raise BodyTooLarge(f"the body has more than {maximum} bytes")
            return bytes(data)

    async def _read(
        self, request: web.Request, address: str, maximum: int, values: int, parse: Callable[[bytes], T]
    ) -> T:
        # Refused by its header alone, before a byte of the body is read.
        if (request.content_length or 0) > maximum:
            raise BodyTooLarge(f"the body has {request.content_length} bytes; send at most {maximum}")
        with self._room(address) as mine:
            data = bytearray()
            async for piece in self._counted(request, address, mine):
                data += piece
                if len(data) > maximum:
                    raise BodyTooLarge(f"the body has more than {maximum} bytes")
            return await self._parse(parse, bytes(data), values)

    async def _counted(self, request: web.Request, address: str, mine: list[int]) -> AsyncIterator[bytes]:
        # Counted before it is kept, so that the bound holds for what is in memory.
        async for piece in body_pieces(request):
            if not self._shares.allows(address, len(piece)):
                raise RateLimited(
                    "too many bodies are being sent at once; repeat the request later", retry_after_ms=2000
                )
            mine[0] += len(piece)
            self._shares.add(address, len(piece))
            yield piece
        # It may have taken long to arrive: nothing is begun with a key that has ended meanwhile.
        guard.check_still(request.app[PARTS], request)

    async def _parse(self, parse: Callable[[bytes], T], data: bytes, values: int) -> T:
        if len(data) <= AT_ONCE:
            return parse(data)
        async with self._reading:  # one long body at a time
            # Between the steps other tasks of the loop run.
            for _ in codec.check_values(data, values):
                await asyncio.sleep(0)
            # In a thread: 10,000 cases of which the last is wrong take 20 to 40 ms, and Python lets the
            # loop's thread go on every 5 ms.
            return await asyncio.to_thread(parse, data)


def _parsed(kind: type[S], data: bytes) -> S:
    try:
        return read_json(kind, data)
    except NotJson:
        # Nothing of the body is quoted: it need not even be text.
        raise BadJson("the body must be one JSON object in UTF-8") from None
    except ValueError as error:
        raise BadMessage(str(error)) from None


def _any(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError):
        raise BadJson("the body must be JSON in UTF-8") from None
