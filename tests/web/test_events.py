"""Events of runs as a stream, and which origins may read it: in this process, without an engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from coderunner import config
from coderunner.core.admission import Position
from coderunner.errors import CodeRunnerError, StartFailed
from coderunner.jobs.work import ANSWER, END, OUTPUT, Work, store
from coderunner.web.api import cors, events
from coderunner.web.api.sending import SENDING, Sending
from coderunner.web.keys import PARTS
from coderunner.web.middleware import add_headers
from coderunner.web.replies import error_reply

FRIEND = "https://friend.example"
SETTINGS = config.load({"ALLOWED_ORIGINS": FRIEND})


class Told(Work):
    """A run whose records the test writes."""

    place = "runs"

    @property
    def begun(self) -> bool:
        return self.position is None

    def event(self, record: Any) -> tuple[str, Any]:
        return "said", {"text": record.frame}

    def shed(self) -> None:
        pass

    def say(self, text: str) -> int:
        """Writes a record; returns its id."""
        self.spool.append(text)
        self._tell()
        return self.spool.size

    def wait(self, place: int) -> None:
        self._on_position(Position(place, place, 1000, 60_000))

    def end_with(self, answer: bytes | Exception) -> None:
        if isinstance(answer, bytes):
            for name in (END, ANSWER):
                store(self.folder / name, (answer,))
            self.done = True
        else:
            self.error = answer
        self._tell()


@pytest.fixture
def work(tmp_path) -> Told:
    assert not (tmp_path / OUTPUT).exists()
    return Told(SimpleNamespace(id="i", language="x"), tmp_path)


@web.middleware
async def problems(request, handler):
    try:
        return await handler(request)
    except CodeRunnerError as error:
        return error_reply(request, error)


@pytest.fixture
async def client(work) -> AsyncIterator[TestClient]:
    @cors.across_origins
    async def handler(request: web.Request) -> web.StreamResponse:
        return await events.stream(request, work, events.last_id(request))

    application = web.Application(middlewares=[problems])
    application[PARTS] = SimpleNamespace(settings=SETTINGS)  # all that is read of them here
    application[SENDING] = Sending()
    application.on_response_prepare.append(add_headers)
    application.router.add_get("/events", handler)
    application.router.add_route("OPTIONS", "/events", cors.preflight)
    async with TestClient(TestServer(application)) as one:
        yield one


async def lines(answer: aiohttp.ClientResponse, until: str = "") -> list[str]:
    """The lines up to one that matches, or to the end."""
    got = []
    async with asyncio.timeout(20):
        async for raw in answer.content:
            got.append(raw.decode().rstrip("\n"))
            if until and got[-1].startswith(until):
                break
    return [line for line in got if line]


async def test_all_of_it_in_order_and_each_with_the_id_behind_which_a_stream_goes_on(client, work):
    first, second = work.say("one"), work.say("two")
    async with client.get("/events") as answer:
        assert answer.headers["Content-Type"] == events.MEDIA
        assert answer.headers["Location"] == "/api/runs/i"
        begun = await lines(answer, f"id: {second}")
        work.end_with(b'{"end":1}')
        rest = await lines(answer)
    assert begun[:2] == ["event: run", 'data: {"id":"i","language":"x"}']
    assert begun[2:5] == ["event: said", f"id: {first}", 'data: {"text":"one"}']
    assert rest == ['data: {"text":"two"}', "event: done", f"id: {second + 1}", 'data: {"end":1}']
    async with client.get("/events", headers={"Last-Event-ID": str(first)}) as answer:
        again = await lines(answer)
    assert again[:3] == ["event: said", f"id: {second}", 'data: {"text":"two"}']
    assert again[3:] == rest[1:]
    # One that has had all of it and asks again, as a repeated POST does, gets the end again.
    for had in (second, second + 1):
        async with client.get("/events", headers={"Last-Event-ID": str(had)}) as answer:
            assert await lines(answer) == rest[1:]


async def test_news_come_while_it_runs_and_places_in_the_queue_before(client, work):
    work.wait(3)
    async with client.get("/events") as answer:
        assert (await lines(answer, 'data: {"position"'))[-1] == 'data: {"position":3,"eta_ms":1000}'
        work.wait(2)
        assert (await lines(answer, 'data: {"position"'))[-1] == 'data: {"position":2,"eta_ms":1000}'
        work.say("one")
        assert (await lines(answer, "data:"))[-1] == 'data: {"text":"one"}'
        work.end_with(StartFailed("no such entry"))
        said = await lines(answer)
    assert said[0] == "event: problem"
    assert "no such entry" in said[1]


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 16])
async def test_an_id_that_is_none_is_refused_before_anything_is_sent(client, given):
    async with client.get("/events", headers={"Last-Event-ID": given}) as answer:
        assert answer.status == 400
        assert "Last-Event-ID must be the id of an event" in await answer.text()


async def test_an_id_beyond_the_end_is_refused(client, work):
    end = work.say("one")
    async with client.get("/events", headers={"Last-Event-ID": str(end + 1)}) as answer:
        assert answer.status == 400


async def test_what_is_forgotten_ends_the_stream_without_its_end(client, work):
    work.say("one")
    async with client.get("/events") as answer:
        await lines(answer, 'data: {"text"')
        work.spool.close()
        with contextlib.suppress(aiohttp.ClientPayloadError):
            assert "event: done" not in await lines(answer)


async def test_a_page_of_an_allowed_origin_may_read_it_and_is_told_so_by_refusals_too(client):
    for headers in ({}, {"Last-Event-ID": "x"}):
        async with client.get("/events", headers={"Origin": FRIEND, **headers}) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
            assert answer.headers["Vary"] == "Origin"
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("origin", ["https://other.example", "null", f"{FRIEND}.evil.example"])
async def test_a_page_of_another_origin_is_refused_and_reads_not_even_that(client, origin):
    for method in ("GET", "OPTIONS"):
        async with client.request(method, "/events", headers={"Origin": origin}) as answer:
            assert answer.status == 403
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_preflight_names_methods_and_headers_to_allowed_origins_alone(client):
    async with client.options("/events", headers={"Origin": FRIEND}) as answer:
        assert answer.status == 204
        assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
        assert "Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"]
    own = f"http://{client.host}:{client.port}"
    for headers in ({}, {"Origin": own}):
        async with client.options("/events", headers=headers) as answer:
            assert answer.status == 204
            assert "Access-Control-Allow-Methods" not in answer.headers


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/event-stream", True), ("application/json, Text/Event-Stream;q=0.5", True), ("*/*", False),
        ("text/event-stream;q=0, application/json", False), ("text/event-stream; q=0.00", False),
        ("text/event-streams", False), ("", False), (";;,", False),
    ],
)  # fmt: skip
def test_events_are_sent_to_who_asks_for_them(accept: str, wanted: bool):
    assert events.wanted(make_mocked_request("POST", "/api/run", headers={"Accept": accept})) is wanted
