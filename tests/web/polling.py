"""A caller of sessions over plain HTTP that polls for events."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Any

from tests.harness import Server
from tests.web.ordering import Reply, ask


@dataclass
class Caller:
    """A session over HTTP. `output`: by channel; each byte is checked to be the next one."""

    server: Server
    session: str
    token: str
    client: str = "0"
    last: str = ""
    over: bool = False
    output: dict[int, bytes] = field(default_factory=dict)
    seen: list[dict[str, Any]] = field(default_factory=list)  # all events but `output`

    async def __call__(self, method: str, path: str = "", **fields: Any) -> Reply:
        headers = {"Authorization": f"Bearer {self.token}", **fields.pop("headers", {})}
        params = {"client": self.client, **fields.pop("params", {})}
        target = f"api/sessions/{self.session}{path}"
        return await ask(self.server, method, target, headers=headers, params=params, **fields)

    async def act(self, what: str, **body: Any) -> Any:
        reply = await self("POST", f"/{what}", **({"json": body} if body else {}))
        assert reply.status == 200, reply.document
        return reply.document

    async def poll(self, wait: int = 10) -> Reply:
        """Requests the events after the last one once, and processes them."""
        params = {"wait": str(wait), **({"after": self.last} if self.last else {})}
        reply = await self("GET", "/events", params=params)
        if reply.status == 200:
            for event in reply.document["events"]:
                self.take(event["id"], event["data"])
            self.over = reply.document["over"]
        return reply

    def take(self, identity: str, data: dict[str, Any]) -> None:
        self.last = identity
        if data["type"] != "output":
            self.seen.append(data)
            return
        had = self.output.setdefault(data["channel"], b"")
        assert data["offset"] == len(had), f"{len(had)} bytes were had, and {data['offset']} come"
        part = data["text"].encode() if "text" in data else base64.b64decode(data["text_base64"])
        self.output[data["channel"]] = had + part

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.seen if one["type"] == kind]

    async def until(self, condition: Any, seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                reply = await self.poll()
                assert reply.status == 200, reply.document

    async def ended(self, channel: int) -> dict[str, Any]:
        """Polls until the program's `exit`, and returns it."""
        await self.until(lambda: any(one["channel"] == channel for one in self.of("exit")))
        (found,) = [one for one in self.of("exit") if one["channel"] == channel]
        return found


async def open_session(server: Server, language: str = "python", **fields: Any) -> Caller:
    reply = await ask(server, "POST", "api/sessions", json={"language": language, **fields})
    assert reply.status == 201, reply.document
    assert reply.headers["Location"] == f"/api/sessions/{reply.document['session']}"
    return Caller(server, reply.document["session"], reply.document["token"])
