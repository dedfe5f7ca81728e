"""Rooms: whose sessions a principal sees, and how a teacher watches, takes over and hands back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from msgspec.structs import replace

from coderunner.schema import messages as m
from tests.harness import ROOT, Client, Server, attach, eventually, random_id, running_server, session
from tests.web.test_guests import heard, hears, refused
from tests.web.test_identity import asked, bearer
from tests.web.test_restart import again

SECRET = "fedcba9876543210" * 4
SETTINGS = {
    "LANGUAGES": "bash", "WARM_MAX": "2", "ANONYMOUS": "no", "JWT_SECRET": SECRET,
    "JWT_ISSUER": "https://school.example", "JWT_AUDIENCE": "coderunner", "OPERATORS": "jwt:olga",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("rooms"), ready=("bash",), **SETTINGS) as one:
        yield one


def who(subject: str, *rooms: str, role: str = "user", **more: Any) -> dict[str, str]:
    """The header with a principal's token."""
    claims = {
        "iss": "https://school.example", "aud": "coderunner", "sub": subject, "exp": time.time() + 3600,
        "name": subject.title(), "roles": [role], "rooms": list(rooms), **more,
    }  # fmt: skip
    return bearer(jwt.encode(claims, SECRET, "HS256"))


TINA = ("tina", "algebra")


def tina() -> dict[str, str]:
    return who(*TINA, role="teacher")


@asynccontextmanager
async def watching(server: Server, opened: m.Opened, headers: dict[str, str], **fields: Any):
    """A socket that attaches with the credential only."""
    async with attach(server, replace(opened, token=None), headers=headers, patient=False, **fields) as one:
        yield one


async def rows(server: Server, headers: dict[str, str]) -> dict[str, dict[str, Any]]:
    _, told = await asked(server, "api/sessions", headers=headers)
    return {one["session"]: one for one in told["sessions"]}


async def notice(client: Client, code: str) -> str:
    return str((await hears(client, m.Notice, lambda one: one.code == code)).message)


async def test_who_sees_which_sessions(server):
    anna, bert = who("anna", "algebra"), who("bert", "botany")
    async with session(server, "bash", headers=anna) as one, session(server, "bash", headers=bert) as two:
        first, second = one.opened.session, two.opened.session
        row = (await rows(server, tina()))[first]
        assert (row["room"], row["own"], row["name"], row["language"]) == ("algebra", False, "Anna", "bash")
        assert set(await rows(server, tina())) == {first}
        assert set(await rows(server, anna)) == {first}
        assert (await rows(server, anna))[first]["own"] is True
        assert set(await rows(server, who("olga"))) == {first, second}
        # Of the same room but no teacher; a teacher of another room; who has taken a room's name as its own.
        for stranger in (
            who("carl", "algebra"),
            who("theo", "botany", role="teacher"),
            who("algebra", role="teacher"),
        ):
            assert first not in await rows(server, stranger)
            foreign = await asked(server, f"api/sessions/{first}", headers=stranger)
            unknown = await asked(server, "api/sessions/" + "x" * len(first), headers=stranger)
            assert foreign == unknown
            assert foreign[0] == 404
        for good in (anna, tina(), who("olga")):
            status, told = await asked(server, f"api/sessions/{first}", headers=good)
            assert (status, told["session"]) == (200, first)
        # Seeing is not changing.
        for method, path in (("DELETE", ""), ("GET", "/files"), ("POST", "/tokens"), ("GET", "/tokens")):
            status, _ = await asked(server, f"api/sessions/{first}{path}", method, headers=tina(), json={})
            assert status == 404, (method, path)


async def test_a_session_is_of_the_room_that_its_opener_chooses(server):
    both = who("anna", "algebra", "botany")
    async with session(server, "bash", headers=both, room="botany") as one:
        assert (await rows(server, both))[one.opened.session]["room"] == "botany"
        assert one.opened.session not in await rows(server, tina())
    async with session(server, "bash", headers=both) as one:
        assert (await rows(server, both))[one.opened.session]["room"] is None
    told = []
    for room in ("algebra", "no-such-room"):
        body = {"language": "bash", "room": room}
        status, problem = await asked(
            server, "api/sessions", "POST", headers=who("bert", "botany"), json=body
        )
        told.append((status, problem["code"], problem["detail"]))
    assert told[0] == told[1]
    assert told[0][:2] == (403, "not_allowed")


async def test_strangers_attach_by_no_credential(server):
    async with session(server, "bash", headers=who("anna", "algebra")) as owner:
        unknown = replace(owner.opened, session="s-unknown")
        strangers = (
            who("carl", "algebra"),
            who("theo", "botany", role="teacher"),
            who("anna", "algebra"),  # the owner has a token
            who("olga"),  # the operator has tickets
        )
        for stranger in strangers:
            told = []
            for opened in (owner.opened, unknown):
                async with watching(server, opened, stranger) as one:
                    told.append((await refused(one), heard(one, m.ErrorMessage)[-1].message))
            assert told[0] == told[1]
            assert told[0][0] == "no_session 4404"
        assert not [one for one in heard(owner, m.Notice) if one.code == "watched"]


async def test_a_teacher_watches_takes_over_with_a_word_and_hands_back(server):
    async with session(server, "bash", headers=who("anna", "algebra")) as owner:
        async with watching(server, owner.opened, tina(), role="control") as teacher:
            assert (await hears(teacher, m.Attached)).role == "watch"
            assert await notice(owner, "watched") == "watched by Tina, a teacher of algebra"
            people = (await hears(owner, m.People)).people
            assert [(one.name, one.owner) for one in people] == [("", True), ("Tina", False)]
            await teacher.send(m.Close())
            assert (await hears(teacher, m.ErrorMessage)).code == "not_control"
            await teacher.send(m.Take())
            await hears(teacher, m.ErrorMessage, lambda one: one.code == "bad_message")
            await teacher.send(m.Take("look at line 3"))
            assert (await hears(teacher, m.Role)).role == "control"
            assert (await hears(owner, m.Role)).role == "watch"
            said = await notice(owner, "taken_over")
            assert said == "Tina, a teacher of algebra, has taken over: look at line 3"
            await teacher.send(m.Run(1, "pipe", (m.File("main.sh", b"echo by tina"),)))
            await eventually(lambda: b"by tina" in owner.channel(1).data, 15, "the output")
            await teacher.send(m.Give())
            await hears(owner, m.Role, lambda one: one.role == "control")
            assert "Tina" in await notice(owner, "handed_back")
            # Who leaves with the control hands it back, too.
            await teacher.send(m.Take("once more"))
            await eventually(lambda: heard(owner, m.Role)[-1].role == "watch", 15, "taken again")
        await eventually(lambda: heard(owner, m.Role)[-1].role == "control", 15, "given back")
        assert await notice(owner, "unwatched") == "Tina, a teacher of algebra watches no longer"
        name = owner.opened.session
    await eventually(lambda: "ended" in [one["event"] for one in audited(server, name)], 30, "its end")
    told = [
        (one["event"], one["details"].get("word"))
        for one in audited(server, name)
        if one["principal"] == "jwt:tina"
    ]
    assert told == [
        ("watched", None),
        ("took over", "look at line 3"),
        ("ran", None),
        ("handed back", None),
        ("took over", "once more"),
        ("handed back", None),
    ]


def audited(server: Server, name: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "audit", "export"],
        env={**os.environ, **server.environment, "PYTHONPATH": str(ROOT / "server")},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return [one for one in map(json.loads, done.stdout.splitlines()) if one["session"] == name]


@pytest.mark.long
async def test_a_room_outlives_the_server(tmp_path):
    with running_server(tmp_path, ready=("bash",), **SETTINGS) as server:
        async with session(server, "bash", keep=True, headers=who("anna", "algebra")) as owner:
            teacher_id = random_id()
            async with watching(server, owner.opened, tina(), client=teacher_id) as teacher:
                await teacher.send(m.Take("let me see"))
                await hears(teacher, m.Role)
                server.stop(signal.SIGKILL)
                await teacher.closed(15)
            await owner.closed(15)
        server.process = again(server, tmp_path).process
        async with attach(server, owner.opened, client=owner.client) as back:
            assert (await hears(back, m.Attached)).role == "control"
            assert (await rows(server, tina()))[owner.opened.session]["name"] == "Anna"
            async with watching(server, owner.opened, tina(), client=teacher_id) as teacher:
                assert (await hears(teacher, m.Attached)).role == "watch"
                assert "Tina" in await notice(back, "watched")
            await back.send(m.Close())
            await back.closed()
