"""The wall of a room over HTTP: what a teacher sees, what students are told, and refusals."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from coderunner.schema import messages as m
from tests.harness import Server, running_server, session
from tests.web.test_guests import heard, hears
from tests.web.test_identity import asked
from tests.web.test_rooms import SETTINGS, notice, tina, who

SECONDS = 20
KEY = "0123456789abcdef" * 4  # without it, whoever is on this machine is the operator


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("wall"), ready=("bash",), ADMIN_KEY=KEY, **SETTINGS) as one:
        yield one


class Wall:
    """The tiles of a wall, updated by its events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.tiles: dict[str, dict[str, Any]] = {}

    async def until(self, condition: Any) -> dict[str, dict[str, Any]]:
        """Reads at least one event, and continues until `condition(tiles)` is true."""
        async with asyncio.timeout(SECONDS):
            while True:
                line = await self._response.content.readline()
                assert line, "the stream ended"
                if not line.startswith(b"data: "):
                    continue
                told = json.loads(line[6:])
                self.tiles |= {tile["session"]: tile for tile in told["tiles"]}
                for name in told["gone"]:
                    self.tiles.pop(name, None)
                if condition(self.tiles):
                    return self.tiles


@asynccontextmanager
async def wall(server: Server, headers: dict[str, str]) -> AsyncIterator[Wall]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}api/rooms/algebra/wall", headers=headers) as response,
    ):
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        yield Wall(response)


async def test_a_teacher_sees_the_room_and_its_students_know(server):
    async with session(server, "bash", headers=who("anna", "algebra")) as owner:
        name = owner.opened.session
        async with wall(server, tina()) as one:
            assert set(await one.until(lambda _: True)) == {name}
            assert (one.tiles[name]["name"], one.tiles[name]["language"]) == ("Anna", "bash")
            assert await notice(owner, "watched") == "watched by Tina, a teacher of algebra"
            text = b"printf '\\033[31mred\\033[0m <b>bold</b>\\n'; read line"
            await owner.send(m.Run(1, "tty", (m.File("main.sh", text),), cols=80, rows=24))
            await one.until(lambda tiles: tiles[name]["text"] == "red <b>bold</b>")
            assert one.tiles[name]["state"] == "running"
            await owner.send(m.Kill(1))
            await one.until(lambda tiles: tiles[name]["state"] == "idle")
        assert await notice(owner, "unwatched") == "Tina, a teacher of algebra watches no longer"


async def test_a_hand_is_seen_and_lowered(server):
    async with session(server, "bash", headers=who("anna", "algebra")) as owner:
        name = owner.opened.session
        path = f"api/rooms/algebra/hands/{name}"
        assert (await hears(owner, m.Hand)).up is False
        await owner.send(m.RaiseHand(True))
        assert (await hears(owner, m.Hand, lambda one: one.up)).up
        async with wall(server, tina()) as one:
            raised = (await one.until(lambda _: True))[name]["hand"]
            assert abs(raised - time.time()) < 60
            for stranger in (who("carl", "algebra"), who("theo", "botany", role="teacher")):
                assert (await asked(server, path, "DELETE", headers=stranger))[0] == 403
            assert (await asked(server, path, "DELETE", headers=tina())) == (200, {"session": name})
            await one.until(lambda tiles: tiles[name]["hand"] is None)
        assert heard(owner, m.Hand)[-1].up is False
        assert (await asked(server, path, "DELETE", headers=tina()))[0] == 200  # it is down already


async def test_a_teacher_tells_all_or_one_and_no_other_room(server):
    async with (
        session(server, "bash", headers=who("anna", "algebra")) as anna,
        session(server, "bash", headers=who("carl", "algebra")) as carl,
        session(server, "bash", headers=who("bert", "botany")) as bert,
    ):
        path = "api/rooms/algebra/notices"

        async def told(headers: dict[str, str], text: str, one: str | None = None):
            body = {"text": text} | ({"session": one} if one else {})
            return await asked(server, path, "POST", headers=headers, json=body)

        assert await told(tina(), "Ten minutes more <b>") == (200, {"sessions": 2, "attachments": 2})
        for client in (anna, carl):
            assert await notice(client, "teacher") == "Tina, a teacher of algebra: Ten minutes more <b>"
        assert await told(tina(), "You too", carl.opened.session) == (200, {"sessions": 1, "attachments": 1})
        await hears(carl, m.Notice, lambda one: one.message.endswith("You too"))
        assert await told(who("olga"), "All out") == (200, {"sessions": 2, "attachments": 2})
        assert await notice(anna, "operator") == "All out"
        assert not [one for one in heard(anna, m.Notice) if one.message.endswith("You too")]
        # A session of another room is answered like none at all, and a student like a stranger.
        foreign, unknown = [await told(tina(), "x", one) for one in (bert.opened.session, "nobody")]
        assert foreign == unknown
        assert foreign[0] == 404
        for stranger in (who("carl", "algebra"), who("theo", "botany", role="teacher")):
            assert (await told(stranger, "x"))[0] == 403
        for wrong in ("", " ", "a\nb", "a\x1b[2Jb", "x" * 501):
            assert (await told(tina(), wrong))[0] == 400
        status, _ = await asked(
            server, path, "POST", headers=tina() | {"Origin": "https://evil.example"}, json={"text": "x"}
        )
        assert status == 403
        assert not heard(bert, m.Notice)


async def test_an_operator_sees_it_too(server):
    async with wall(server, who("olga")) as one:
        await one.until(lambda _: True)


async def test_an_unknown_room_and_that_of_others_are_answered_alike(server):
    told = []
    for stranger in (
        who("carl", "algebra"),  # a student of the room
        who("theo", "botany", role="teacher"),
        who("ulf", role="teacher"),
    ):
        for room in ("algebra", "no-such-room", "x" * 100):
            status, problem = await asked(server, f"api/rooms/{room}/wall", headers=stranger)
            told.append((status, problem["code"], problem["detail"]))
    assert set(told) == {(403, "not_allowed", "this credential is not that of a teacher of this room")}
    status, problem = await asked(server, "api/rooms/algebra/wall")
    assert (status, problem["code"]) == (401, "unauthenticated")


async def test_a_page_of_another_origin_opens_none(server):
    headers = tina() | {"Origin": "https://evil.example"}
    status, problem = await asked(server, "api/rooms/algebra/wall", headers=headers)
    assert (status, problem["code"]) == (403, "not_allowed")


async def test_a_teacher_has_a_few_open_at_a_time(server):
    async with wall(server, tina()), wall(server, tina()), wall(server, tina()), wall(server, tina()):
        status, problem = await asked(server, "api/rooms/algebra/wall", headers=tina())
        assert (status, problem["code"]) == (429, "rate_limited")


async def test_it_ends_with_its_credential(server):
    async with wall(server, who("tom", "algebra", role="teacher", exp=time.time() + 3)) as one:
        with pytest.raises(AssertionError, match="the stream ended"):
            await one.until(lambda _: False)


async def test_its_page_is_the_same_for_everybody_and_in_no_frame(server):
    pages = set()
    async with aiohttp.ClientSession() as http:
        for room in ("algebra", "no-such-room", "x" * 200, "%3Cscript%3E"):
            async with http.get(f"{server.url}room/{room}") as answer:
                pages.add(await answer.text())
                assert answer.status == 200
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
                assert "unsafe" not in answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Frame-Options"] == "DENY"
    assert len(pages) == 1
