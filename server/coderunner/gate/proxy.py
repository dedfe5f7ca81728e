"""The proxy: takes one request per connection, checks it, and sends the engine a request of its own.

It does not use an HTTP library's forwarding: the engine gets only what the policy built, so a request cannot
be read in one way by the proxy and in another by the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from coderunner.engine.attach import Address
from coderunner.errors import CannotStart
from coderunner.gate.bodies import Refused, Tables
from coderunner.gate.policy import Call, Permit, Policy, parse
from coderunner.logs import fields
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

HEAD_SECONDS = 10.0  # to receive a request's head
BODY_SECONDS = 60.0  # to receive a request's body, or each piece of a streamed one
ASK_SECONDS = 20.0  # for a response of the engine that is read whole
IDLE_SECONDS = 3600.0  # for a streamed response, such as that of a build or a wait
MAX_HEAD = 64 * 1024  # bytes; the query of a build has the recipe's arguments
MAX_BODY = 16 * 1024 * 1024  # bytes; the largest is the context of a build
MAX_ORIGIN = 2 * 1024**3  # bytes of an uploaded base image
MAX_ANSWER = 16 * 1024 * 1024  # bytes of a response that is read whole
PIECE = 64 * 1024
MAX_CONNECTIONS = 1024


class Broken(Exception):
    """The client's request is not valid HTTP, or it disconnected."""


class EngineGate:
    """Listens for requests. `tables`: what may be created. `address`: the engine's address."""

    def __init__(self, tables: Tables, address: Address) -> None:
        self._address = address
        self._policy = Policy(tables, self.ask)
        self._connections = Tasks("engine-proxy")

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        """Listens at the Unix socket `path` until the context ends; then closes all connections. The group of
        the socket's folder may connect. Raises CannotStart."""

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._connections.start(self._serve(reader, writer), "connection")

        try:
            _make_room(path)
            server = await asyncio.start_unix_server(connected, str(path), limit=MAX_HEAD)
            _open_to_group(path)
        except OSError as error:
            raise CannotStart(
                f"cannot listen at {path} ({error.strerror or error}); check that its folder exists and this"
                " user may write there"
            ) from None
        try:
            yield
        finally:
            server.close()
            await self._connections.stop()
            _make_room(path)

    async def ask(self, path: str) -> tuple[int, Any]:
        """Sends a GET request to the engine; returns (status, document). Raises OSError, ValueError,
        TimeoutError."""
        async with asyncio.timeout(ASK_SECONDS):
            reader, writer = await self._address.open()
            try:
                writer.write(_request(Permit("GET", path), 0))
                status, length = _status(await reader.readuntil(b"\r\n\r\n"))
                data = await _answer(reader, length)
            finally:
                # `close` would first wait until the engine has read what is buffered; one that hangs never
                # does.
                writer.transport.abort()
        return status, json.loads(data) if data.strip() else None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection until it ends."""
        try:
            # This connection is counted already.
            if len(self._connections) > MAX_CONNECTIONS:
                raise Broken("too many connections")
            await self._one(reader, writer)
        except Refused as refusal:
            await _reply(writer, 403, f"engine-proxy: refused: {refusal}")
        except Broken as error:
            await _reply(writer, 400, f"engine-proxy: {error}")
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            why = str(error) or type(error).__name__
            # ValueError: the engine's answer is not HTTP or not JSON.
            await _reply(writer, 502, f"engine-proxy: the engine does not answer: {why}")
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, headers = await _head(reader)
        try:
            version, path, query = parse(target)
            rule, _ = self._policy.find(method, path)
            if rule.streams:
                body, length = None, _length(headers, MAX_ORIGIN)
            else:
                body = await _body(reader, headers)
                length = len(body)
            permit = await self._policy.judge(Call(method, path, query, body))
        except Refused as refusal:
            log.warning("refused", extra=fields(method=method, target=target[:200], why=str(refusal)))
            raise
        if permit.body is not None:
            length = len(permit.body)
        upstream, down = await self._address.open()
        try:
            down.write(_request(permit, length, version))
            down.write(permit.body or b"")
            if permit.body is None:
                await _copy_exactly(reader, down, length)
            await down.drain()
            if permit.keep:
                await _kept(upstream, writer, permit.keep)
            else:
                await _both(reader, writer, upstream, down, permit.stream)
        finally:
            down.transport.abort()


def _make_room(path: Path) -> None:
    # A socket that a killed process has left would make bind() fail with EADDRINUSE.
    path.unlink(missing_ok=True)


def _open_to_group(path: Path) -> None:
    # connect() needs write permission for the socket (unix(7)), so the folder's group decides who may.
    os.chown(path, -1, path.parent.stat().st_gid)
    path.chmod(0o660)


# --- reading a client's request ----------------------------------------------------------------------------


async def _head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]]:
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, UnicodeDecodeError):
        raise Broken("the request's head is incomplete or invalid") from None
    first, *lines = head[:-4].split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Broken("the request's first line is invalid")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        # Two lengths of one body are how requests are smuggled (RFC 9112, section 6.3).
        twice = name in headers and name.startswith(("content", "transfer"))
        # No space before the colon: RFC 9112, section 5.1.
        if not colon or not name or name != name.strip() or twice:
            raise Broken("a header is invalid, or is there twice")
        headers[name] = value.strip()
    return words[0], words[1], headers


def _length(headers: dict[str, str], maximum: int) -> int:
    if "transfer-encoding" in headers:
        raise Broken("this body needs a Content-Length")
    text = headers.get("content-length", "0")
    # int() alone would take "+1", "1_0" and digits of other scripts.
    if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > maximum:
        raise Broken(f"Content-Length must be a number up to {maximum}")
    return int(text)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    async with asyncio.timeout(BODY_SECONDS):
        if headers.get("transfer-encoding", "").lower() == "chunked" and "content-length" not in headers:
            return await _chunks(reader)
        return await reader.readexactly(_length(headers, MAX_BODY))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        line = (await reader.readuntil(b"\r\n"))[:-2]
        try:
            # isalnum(): no signs or underscores, which int() takes, and no chunk extensions.
            size = int(line.decode("ascii"), 16) if line.isalnum() else -1
        except ValueError:
            size = -1
        if not 0 <= size <= MAX_BODY - len(body):
            raise Broken(f"the body has an invalid chunk, or more than {MAX_BODY} bytes")
        data = await reader.readexactly(size + 2)
        # Also refuses trailer fields after the last chunk, which are not supported here.
        if data[size:] != b"\r\n":
            raise Broken("a chunk does not end where its length says")
        if size == 0:
            return body
        body += data[:size]


# --- speaking with the engine ------------------------------------------------------------------------------


def _request(permit: Permit, length: int, version: str = "") -> bytes:
    # The engine needs a Host header (RFC 9112, section 3.2) and ignores which one it is.
    lines = [f"{permit.method} {version}{permit.target} HTTP/1.1", "Host: docker"]
    lines.append(f"Content-Length: {length}")
    # One request per connection: the engine can never take the rest of a body for a second request.
    lines += ["Connection: Upgrade", "Upgrade: tcp"] if permit.stream else ["Connection: close"]
    if permit.kind:
        lines.append(f"Content-Type: {permit.kind}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _status(head: bytes) -> tuple[int, int | None]:
    """Parses a response's head into (status, length). Length: -1 if chunked, None if not given."""
    first, *lines = head.decode("latin-1").split("\r\n")
    found = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in found}
    if headers.get("transfer-encoding", "") == "chunked":
        return int(first.split(" ")[1]), -1
    return int(first.split(" ")[1]), int(headers["content-length"]) if "content-length" in headers else None


async def _answer(reader: asyncio.StreamReader, length: int | None) -> bytes:
    if length == -1:
        return await _chunks(reader)
    if length is not None:
        if length > MAX_ANSWER:
            raise ValueError("the engine's response is too long")
        return await reader.readexactly(length)
    # Neither a length nor chunks: an answer without a body, such as 204.
    return await reader.read(MAX_ANSWER)


async def _kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: tuple[str, ...]) -> None:
    """Forwards the rows of the engine's response with the fields `keep` only."""
    async with asyncio.timeout(ASK_SECONDS):
        status, length = _status(await reader.readuntil(b"\r\n\r\n"))
        rows = json.loads(await _answer(reader, length))
    if isinstance(rows, list):
        rows = [{name: row.get(name) for name in keep} for row in rows]
    await _send(writer, status, rows)


async def _copy_exactly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
    while length:
        async with asyncio.timeout(BODY_SECONDS):
            data = await reader.read(min(length, PIECE))
            if not data:
                raise Broken("the body is incomplete")
            length -= len(data)
            writer.write(data)
            await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None) -> None:
    """Copies until the end of the stream. Without a writer the data are dropped: while a response is sent,
    nothing more of the client is expected, but its disconnection must be noticed."""
    while data := await reader.read(PIECE):
        if writer is not None:
            writer.write(data)
            await writer.drain()


async def _both(
    client: asyncio.StreamReader,
    back: asyncio.StreamWriter,
    engine: asyncio.StreamReader,
    down: asyncio.StreamWriter,
    stream: bool,
) -> None:
    """Copies in both directions until either side ends. A client that disconnects ends its call, as it does
    without the proxy."""
    async with Tasks("engine-proxy connection", expected=(OSError,)) as ways:
        ways.start(_copy(client, down if stream else None), "to-engine")
        ways.start(_copy(engine, back), "to-client")
        # A container's streams are open as long as its session: the server's own deadlines end them.
        async with asyncio.timeout(None if stream else IDLE_SECONDS):
            await asyncio.wait(list(ways), return_when=asyncio.FIRST_COMPLETED)


async def _reply(writer: asyncio.StreamWriter, status: int, message: str) -> None:
    await _send(writer, status, {"message": message})


async def _send(writer: asyncio.StreamWriter, status: int, document: Any) -> None:
    data = json.dumps(document).encode()
    # No client uses the reason phrase (RFC 9112, section 4).
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    # A client that has gone away needs no answer.
    with contextlib.suppress(OSError):
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + data)
        await writer.drain()
