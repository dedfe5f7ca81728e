"""Helpers for tests of runs and batches: requests, answers, events, and what is left behind."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness import Server, eventually, start_server

COUNT = "import time\nfor i in range({n}):\n    print('%07d' % i, flush=True)\n    time.sleep({pause})\n"
SETTINGS = {"LANGUAGES": "python", "WARM_MAX": "2", "SESSIONS_PER_ADDRESS": "4"}


@dataclass
class Reply:
    status: int
    headers: Any
    document: Any


@contextlib.asynccontextmanager
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


async def ask(server: Server, method: str, path: str, **fields: Any) -> Reply:
    async with http() as client, client.request(method, server.url + path, **fields) as answer:
        body = await answer.read()
        return Reply(answer.status, answer.headers, json.loads(body) if body else None)


async def order(what: str, server: Server, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    """Requests a run (`run`) or a batch (`batch`), in Python by default."""
    return await ask(server, "POST", f"api/{what}", json={"language": "python", **fields}, headers=headers)


async def done(what: str, server: Server, **fields: Any) -> Any:
    """The answer of a run or a batch that is accepted."""
    reply = await order(what, server, **fields)
    assert reply.status == 200, reply.document
    return reply.document


@dataclass
class Event:
    name: str
    id: int | None
    data: Any


run = functools.partial(order, "run")
answer_of = functools.partial(done, "run")


def numbers(count: int) -> str:
    """What the program COUNT prints."""
    return "".join(f"{i:07d}\n" for i in range(count))


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    block: dict[str, str] = {}
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            block[name] = value
        elif block:
            yield Event(
                block["event"], int(block["id"]) if "id" in block else None, json.loads(block["data"])
            )
            block = {}


def left(server: Server) -> list[Path]:
    """The stored files of runs."""
    folder = Path(server.environment["STATE_DIR"]) / f"{server.instance}.runs"
    return list(folder.iterdir()) if folder.exists() else []


def slots_given(server: Server) -> int:
    """The number of requests for a session that got a slot, by the server's log."""
    return server.log.read_text().count("slot given ")


def held(server: Server) -> int:
    """The number of sessions with a slot; those of other tests may still wait for a client."""
    return server.stats()["queue"]["active"]


async def idle(server: Server, besides: int = 0) -> None:
    """Waits until no more sessions have a slot than before the test."""
    await eventually(lambda: held(server) <= besides, 20, "all slots given back")


def again(server: Server, folder: Path) -> Server:
    """The next server of the same instance, on the same port."""
    port = server.url.rsplit(":", 1)[1].strip("/")
    return start_server({**server.environment, "PORT": port}, folder / "again.log")
