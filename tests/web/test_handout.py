"""Handing out and collecting files over HTTP: permissions, and what users are told."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import aiohttp
import pytest

from coderunner.schema import messages as m
from coderunner.sessions import handout
from tests.harness import Server, running_server, session
from tests.sessions.test_handout import archive
from tests.web.test_guests import heard
from tests.web.test_identity import asked, bearer
from tests.web.test_rooms import SETTINGS, notice, tina, who

PROJECT = "api/rooms/algebra/project?into=week-3"
KEY = "0123456789abcdef" * 4  # without it, whoever is on this machine is the operator
ARCHIVE = "api/rooms/algebra/archive"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("handout")
    with running_server(folder, ready=("bash",), ADMIN_KEY=KEY, **SETTINGS) as one:
        yield one


async def put(server: Server, path: str, headers: dict[str, str], data: bytes):
    return await asked(server, path, "PUT", headers=headers, data=data)


async def content(server: Server, path: str, headers: dict[str, str]) -> bytes:
    async with aiohttp.ClientSession() as http, http.get(server.url + path, headers=headers) as answer:
        assert answer.status == 200
        return await answer.read()


async def test_all_of_the_room_get_it_and_all_give_theirs(server):
    made = archive({"main.sh": b"echo week 3", "data/in.txt": b"1 2 3"}).getvalue()
    async with (
        session(server, "bash", headers=who("anna", "algebra")) as anna,
        session(server, "bash", headers=who("carl", "algebra")) as carl,
        session(server, "bash", headers=who("bert", "botany")) as bert,
    ):
        await anna.send(m.Run(1, "pipe", (m.File("main.sh", b"echo of anna > made.txt"),)))
        await anna.ended(1)
        status, told = await put(server, PROJECT, tina(), made)
        assert (status, told["files"]) == (200, 2)
        assert told["sessions"] == [
            {"session": anna.opened.session, "name": "Anna", "error": None},
            {"session": carl.opened.session, "name": "Carl", "error": None},
        ]
        for client in (anna, carl):
            assert await notice(client, "handed_out") == "Tina, a teacher of algebra: week-3"
            path = f"api/sessions/{client.opened.session}/files/week-3/data/in.txt"
            assert await content(server, path, bearer(client.opened.token)) == b"1 2 3"
        with zipfile.ZipFile(io.BytesIO(await content(server, ARCHIVE, tina()))) as whole:
            found = {name: whole.read(name) for name in whole.namelist()}
        annas = handout.folder_of("Anna", anna.opened.session)
        carls = handout.folder_of("Carl", carl.opened.session)
        assert found[f"{annas}/made.txt"] == b"of anna\n"
        assert found[f"{carls}/week-3/main.sh"] == b"echo week 3"
        assert {name.partition("/")[0] for name in found} == {annas, carls}
        for client in (anna, carl):
            assert await notice(client, "collected") == "Tina, a teacher of algebra"
        assert not heard(bert, m.Notice)


async def test_nobody_else_does_either(server):
    made = archive({"main.sh": b"echo hostile"}).getvalue()
    async with session(server, "bash", headers=who("anna", "algebra")) as anna:
        for headers in (
            who("carl", "algebra"),
            who("theo", "botany", role="teacher"),
            who("olga"),  # the operator has the machine
            tina() | {"Origin": "https://evil.example"},
            tina() | {"Sec-Fetch-Site": "cross-site"},
        ):
            assert (await put(server, PROJECT, headers, made))[0] == 403
            assert (await asked(server, ARCHIVE, headers=headers))[0] == 403
        assert (await asked(server, ARCHIVE))[0] == 401
        listed = await content(server, f"api/sessions/{anna.opened.session}/files", bearer(anna.opened.token))
        assert b"week-3" not in listed
        assert not heard(anna, m.Notice)


async def test_what_cannot_be_handed_out_is_refused_as_a_whole(server):
    made = archive({"main.sh": b"x"}).getvalue()
    for path, data, status in (
        ("api/rooms/algebra/project", made, 400),
        ("api/rooms/algebra/project?into=", made, 400),
        ("api/rooms/algebra/project?into=../up", made, 400),
        (PROJECT, b"", 400),
        (PROJECT, b"no archive", 400),
        (PROJECT, archive({"../up": b""}).getvalue(), 400),
        (PROJECT, bytes(handout.MAX_PACKED + 1), 413),
    ):
        refused, problem = await put(server, path, tina(), data)
        assert (refused, path) == (status, path), problem
    status, told = await put(server, PROJECT, tina(), made)
    assert (status, told["sessions"]) == (200, [])  # nobody is there
