"""Guests of a session: further tokens, what they allow, and their end."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from coderunner.schema import messages as m
from tests.harness import Client, Server, attach, eventually, running_server, session
from tests.web.test_restart import again

END_SECONDS = 5.0  # in which a revocation closes what is open


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with running_server(
        tmp_path_factory.mktemp("guests"), ready=("bash",), LANGUAGES="bash", WARM_MAX="2"
    ) as one:
        yield one


async def asked(
    server: Server, owner: Client, method: str = "GET", path: str = "", token: str = "", **body: Any
):
    """Returns (status, document) of a request for the session's tokens."""
    headers = {"Authorization": f"Bearer {token or owner.opened.token}"}
    address = f"{server.url}api/sessions/{owner.opened.session}/tokens{path}"
    async with aiohttp.ClientSession() as http:
        async with http.request(method, address, headers=headers, json=body or None) as answer:
            return answer.status, json.loads(await answer.text())


async def invited(server: Server, owner: Client, **body: Any) -> dict[str, Any]:
    status, told = await asked(server, owner, "POST", **{"name": "Bob", **body})
    assert status == 201, told
    return told


@asynccontextmanager
async def guest(server: Server, owner: Client, token: str, **fields: Any):
    async with attach(server, replace(owner.opened, token=token), **fields) as one:
        yield one


def heard(client: Client, kind: type) -> list[Any]:
    return [each for each in client.messages if isinstance(each, kind)]


async def hears(client: Client, kind: type, condition=lambda _: True) -> Any:
    """Waits for the first message that matches."""

    def found() -> Any:
        return next((each for each in heard(client, kind) if condition(each)), None)

    return await eventually(found, 15, f"{kind.__name__}")


async def refused(client: Client) -> str:
    """Returns the code of the last error, and the close code."""
    code = await client.closed(15)
    return f"{heard(client, m.ErrorMessage)[-1].code} {code}"


async def back(owner: Client) -> None:
    """Takes the control back as the owner, to end the session with it."""
    await owner.send(m.Take())
    await eventually(
        lambda: (heard(owner, m.Role) or [m.Role("control", {})])[-1].role == "control", 15, "control"
    )


async def test_a_watcher_sees_and_changes_nothing(server):
    async with session(server, "bash") as owner:
        told = await invited(server, owner, role="watch")
        async with guest(server, owner, told["token"], role="control") as bob:
            assert (await hears(bob, m.Attached)).role == "watch"
            await owner.send(m.Run(1, "pipe", (m.File("main.sh", b"echo seen"),)))
            await eventually(lambda: b"seen" in bob.channel(1).data, 15, "the output")
            people = (await hears(owner, m.People)).people
            assert [(one.name, one.owner) for one in people] == [("", True), ("Bob", False)]
            for message in (m.Take(), m.Extend(), m.Kill(1), m.Close()):
                before = len(heard(bob, m.ErrorMessage))
                await bob.send(message)
                await eventually(lambda n=before: len(heard(bob, m.ErrorMessage)) > n, 15, "an error")
                assert heard(bob, m.ErrorMessage)[-1].code == "not_control", message
            assert heard(bob, m.People) == [], "who is here is the owner's to know"


async def test_who_asks_for_the_control_gets_it_from_the_owner(server):
    async with session(server, "bash") as owner:
        told = await invited(server, owner, role="control")
        async with guest(server, owner, told["token"], role="control") as bob:
            assert (await hears(bob, m.Attached)).role == "watch"
            await bob.send(m.Take())
            assert (await hears(bob, m.Notice)).code == "take_asked"
            asks = await hears(owner, m.People, lambda one: any(each.asks for each in one.people))
            who = next(one.who for one in asks.people if one.asks)
            await owner.send(m.Answer(who, False))
            assert (await hears(bob, m.ErrorMessage)).code == "not_control"
            await bob.send(m.Take())
            await eventually(
                lambda: sum(any(one.asks for one in each.people) for each in heard(owner, m.People)) > 1,
                15,
                "asks",
            )
            await owner.send(m.Answer(who, True))
            assert (await hears(bob, m.Role)).role == "control"
            assert (await hears(owner, m.Role)).role == "watch"
            await bob.send(m.Run(1, "pipe", (m.File("main.sh", b"echo by bob"),)))
            await eventually(lambda: b"by bob" in owner.channel(1).data, 15, "the output")
            await bob.send(m.Close())
            await hears(bob, m.ErrorMessage, lambda one: "only the owner" in one.message)
            await owner.send(m.Take())  # and back, without asking
            await hears(owner, m.Role, lambda one: one.role == "control")
            await bob.send(m.Answer("p1", True))
            await hears(bob, m.ErrorMessage, lambda one: "only the owner of the session gives" in one.message)


async def test_who_need_not_ask(server):
    async with session(server, "bash") as owner:
        told = await invited(server, owner, role="control", take=True)
        async with guest(server, owner, told["token"], role="watch") as bob:
            await hears(bob, m.Attached)
            await bob.send(m.Take())
            assert (await hears(bob, m.Role)).role == "control"
            await back(owner)


async def test_a_revocation_closes_what_is_open(server):
    async with session(server, "bash") as owner:
        told = await invited(server, owner, role="control", take=True)
        other = await invited(server, owner, name="Eve")
        async with guest(server, owner, told["token"]) as bob, guest(server, owner, other["token"]) as eve:
            await hears(bob, m.Attached)
            await hears(eve, m.Attached)
            began = time.monotonic()
            status, closed = await asked(server, owner, "DELETE", f"/{told['serial']}")
            assert (status, closed["closed"]) == (200, 1)
            assert await refused(bob) == "not_allowed 4403"
            assert time.monotonic() - began < END_SECONDS
            assert eve.close_code is None
        async with guest(server, owner, told["token"], patient=False) as bob:
            assert await refused(bob) == "no_session 4404"
        _, listed = await asked(server, owner)
        assert [(one["name"], one["revoked"] is not None) for one in listed["tokens"]] == [
            ("Bob", True),
            ("Eve", False),
        ]
        assert "token" not in listed["tokens"][0]
        for wrong in ("000000000000", "x", "9" * 4000):
            assert (await asked(server, owner, "DELETE", f"/{wrong}"))[0] == 404
    assert told["token"] not in server.log.read_text()


async def test_a_tokens_end_closes_what_is_open(server):
    async with session(server, "bash") as owner:
        told = await invited(server, owner, lasts_ms=3000)
        async with guest(server, owner, told["token"]) as bob:
            await hears(bob, m.Attached)
            assert await refused(bob) == "not_allowed 4403"
        async with guest(server, owner, told["token"], patient=False) as bob:
            assert await refused(bob) == "no_session 4404"


async def test_wrong_tokens_are_answered_alike(server):
    async with session(server, "bash") as owner, session(server, "bash") as another:
        told = await invited(server, owner)
        serial, token = told["serial"], told["token"]
        wrong = (
            token[:-1] + ("A" if token[-1] != "A" else "B"),
            f"crg_000000000000_{'A' * 43}",
            f"crg_{serial}_",
        )
        for one in wrong:
            async with guest(server, owner, one, patient=False) as bob:
                assert await refused(bob) == "no_session 4404"
        # The token of another session.
        async with guest(server, another, token, patient=False) as bob:
            assert await refused(bob) == "no_session 4404"
        unknown = replace(owner.opened, session="n1-unknown", token=token)
        async with attach(server, unknown, patient=False) as bob:
            assert await refused(bob) == "no_session 4404"


async def test_guests_make_no_guests_and_read_files_while_they_are_here(server):
    async with session(server, "bash") as owner:
        told = await invited(server, owner, role="control", take=True)
        files = f"{server.url}api/sessions/{owner.opened.session}/files"
        headers = {"Authorization": f"Bearer {told['token']}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            async with http.get(files) as answer:
                assert answer.status == 404, "not attached"
            async with guest(server, owner, told["token"]) as bob:
                await hears(bob, m.Attached)
                async with http.get(files) as answer:
                    assert answer.status == 200
                async with http.put(files + "/new", data=b"x") as answer:
                    assert answer.status == 403, "without the control"
                assert (await asked(server, owner, token=told["token"]))[0] == 404
                assert (await asked(server, owner, "POST", token=told["token"], name="x"))[0] == 404
                await bob.send(m.Take())
                await hears(bob, m.Role)
                # With the control, too: what is the owner's over HTTP.
                own = files.removesuffix("/files")
                for method, path in (("DELETE", ""), ("POST", "/take"), ("GET", "/events")):
                    async with http.request(method, own + path) as answer:
                        assert answer.status == 404, (method, path)
                async with http.put(files + "/new", data=b"x") as answer:
                    assert answer.status == 200
                await back(owner)


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"role": "owner"},
        {"take": True},
        {"lasts_ms": 5},
        {"lasts_ms": 10**12},
    ],
)
async def test_what_is_wrong_with_an_invitation(server, body):
    async with session(server, "bash") as owner:
        status, told = await asked(server, owner, "POST", **{"name": "Bob", **body})
        assert (status, told["code"]) == (400, "bad_message")


@pytest.mark.long
@pytest.mark.timeout(150)
async def test_guests_hold_over_a_restart_and_need_the_database(tmp_path):
    with running_server(tmp_path, ready=("bash",), LANGUAGES="bash", WARM_MAX="1") as server:
        async with session(server, "bash", keep=True) as owner:
            good, bad = await invited(server, owner, name="Bob"), await invited(server, owner, name="Eve")
            assert (await asked(server, owner, "DELETE", f"/{bad['serial']}"))[0] == 200
            server.stop(signal.SIGKILL)
            await owner.closed()
        server.process = again(server, tmp_path).process
        async with guest(server, owner, good["token"]) as bob, guest(server, owner, bad["token"]) as eve:
            assert (await hears(bob, m.Attached)).role == "watch"
            assert await refused(eve) == "no_session 4404"
        server.stop(signal.SIGKILL)
        for file in Path(server.environment["STATE_DIR"]).glob("*.sqlite3*"):
            file.unlink()
            file.mkdir()
        server.process = again(server, tmp_path).process
        async with guest(server, owner, good["token"], patient=False) as bob:
            await hears(bob, m.ErrorMessage, lambda one: one.code == "database_unavailable")
        async with attach(server, owner.opened) as back:
            assert (await hears(back, m.Attached)).role == "control"
            await back.send(m.Close())
            assert await back.closed() == 1000
