"""The audit log of a real server: who did what, from where, and what was refused; and its exports."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from coderunner.schema import messages as m
from tests.harness import ROOT, Server, attach, connect, eventually, running_server, session, wait_until

KEY = "0123456789abcdef-ABCDEF-0123456789"
AUTH = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = {
        "LANGUAGES": "bash", "WARM_MAX": "1", "ADMIN_KEY": KEY, "LOG_FORMAT": "json",
        "PROXY_USER_HEADER": "X-User", "TRUSTED_PROXIES": "127.0.0.1",
    }  # fmt: skip
    with running_server(tmp_path_factory.mktemp("server"), ready=("bash",), **settings) as one:
        yield one


def command(server: Server, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", *words],
        env={**os.environ, **server.environment, "PYTHONPATH": str(ROOT / "server")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def exported(server: Server, *words: str) -> list[dict]:
    return [json.loads(line) for line in command(server, "audit", "export", *words).splitlines()]


def of_session(server: Server, name: str) -> list[dict]:
    """The events of a session, once it has ended."""

    def found() -> list[dict]:
        rows = [row for row in exported(server) if row["session"] == name]
        return rows if rows and rows[-1]["event"] == "ended" else []

    return wait_until(found, 30, "the session's end in the audit log")


def test_a_session_from_its_opening_to_its_end(server):
    async def use() -> str:
        async with session(server, "bash", headers=AUTH) as client:
            await client.run(1, "echo hello; exit 3", entry="main.sh")
            await client.ended(1)
            return client.opened.session

    name = asyncio.run(use())
    rows = of_session(server, name)
    assert [row["event"] for row in rows] == ["opened", "ran", "ended"]
    assert {row["principal"] for row in rows} == {"admin"}
    assert {row["address"] for row in rows} == {"127.0.0.1"}
    assert {row["language"] for row in rows} == {"bash"}
    ran, ended = rows[1]["details"], rows[2]["details"]
    assert (ran["kind"], ran["files"], ran["bytes"], len(ran["sha256"])) == ("run", 1, 18, 64)
    assert "text" not in ran
    assert (ended["reason"], ended["programs"]) == ("client", 1)
    assert ended["output_bytes"] >= 6
    assert rows[0]["request"] == rows[1]["request"]
    assert len(rows[0]["request"]) == 32


def test_what_an_operator_does(server):
    async def use() -> str:
        async with session(server, "bash", headers=AUTH) as client, aiohttp.ClientSession() as http:
            path = f"{server.url}api/admin/sessions/{client.opened.session}"
            async with http.post(path + "/notice", json={"text": "hello"}, headers=AUTH) as answer:
                assert answer.status == 200
            async with http.get(path, headers=AUTH) as answer:
                assert answer.status == 200
            async with http.post(path + "/notice", json={}, headers=AUTH) as answer:
                assert answer.status == 400
            return client.opened.session

    name = asyncio.run(use())
    [done] = [row for row in of_session(server, name) if row["event"] == "operated"]
    assert (done["principal"], done["address"]) == ("admin", "127.0.0.1")
    assert done["details"] == {"method": "POST", "path": f"/api/admin/sessions/{name}/notice"}


def test_what_a_guest_does_is_not_told_of_the_owner(server):
    async def use() -> tuple[str, str]:
        async with session(server, "bash", headers=AUTH) as client:
            path = f"{server.url}api/sessions/{client.opened.session}/tokens"
            body = {"name": "Bob", "role": "control", "take": True}
            async with aiohttp.ClientSession() as http:
                token = {"Authorization": f"Bearer {client.opened.token}"}
                async with http.post(path, json=body, headers=token) as answer:
                    told = await answer.json()
            async with attach(server, replace(client.opened, token=told["token"]), role="control") as bob:
                await bob.run(1, "echo by bob", entry="main.sh")
                await bob.ended(1)
            await client.send(m.Take())
            await eventually(lambda: m.Role("control", {1: 0}) in client.messages, 15, "the control")
            return client.opened.session, told["serial"]

    name, serial = asyncio.run(use())
    rows = {row["event"]: row for row in of_session(server, name)}
    assert rows["opened"]["principal"] == "admin"
    for event in ("attached", "ran"):
        row = rows[event]
        assert (row["principal"], row["address"]) == (None, "127.0.0.1"), event
        assert (row["details"]["guest"], row["details"]["guest_name"]) == (serial, "Bob")


def test_request_and_session_stand_in_the_lines_of_the_log(server):
    async def use() -> str:
        async with session(server, "bash", headers=AUTH) as client:
            return client.opened.session

    name = asyncio.run(use())
    of_session(server, name)
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    [opened] = [line for line in lines if line["msg"] == "session opened" and line["session"] == name]
    [attached] = [line for line in lines if line["msg"] == "attached" and line["session"] == name]
    assert opened["request"] == attached["request"]
    calls = [line for line in lines if line["msg"] == "engine call" and line.get("session") == name]
    assert calls, "no call of the engine has the session's id"


def test_refusals_are_noted_and_cannot_flood_the_log(server):
    before = len(exported(server))
    for _ in range(30):
        request = urllib.request.Request(server.url + "metrics", headers={"Authorization": "Bearer wrong"})
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=10)
    rows = wait_until(lambda: (new := exported(server)[before:])[9:] and new, 20, "the refusals")
    assert {(row["event"], row["details"]["code"]) for row in rows} == {("refused", "unauthenticated")}
    assert len(rows) == 10


def test_who_was_refused_is_noted_over_requests_and_sockets(server):
    """By principal, so that callers behind one address cannot hide each other's refusals."""

    async def use() -> None:
        async with aiohttp.ClientSession() as http:
            for name in ("eve", "mallory"):
                user = {"X-User": name}
                for _ in range(15 if name == "eve" else 1):
                    async with http.get(server.url + "api/admin/overview", headers=user) as answer:
                        assert answer.status == 403
                async with connect(server.url, "ws/nobody", headers=user) as one:
                    await one.send(m.Attach("nobody", "x" * 43, one.client))
                    assert await one.error_code() == "no_session"

    asyncio.run(use())

    def refused(name: str) -> list[str]:
        rows = exported(server, "--principal", f"proxy:{name}")
        return sorted(row["details"]["code"] for row in rows if row["event"] == "refused")

    wait_until(lambda: refused("mallory") == ["no_session", "not_allowed"], 20, "one of each")
    wait_until(lambda: refused("eve") == ["no_session"] + ["not_allowed"] * 10, 20, "not more than ten")


@pytest.mark.long
def test_exports_for_people_and_programs(server):
    async def use() -> str:
        async with session(server, "bash", headers=AUTH) as client:
            return client.opened.session

    name = asyncio.run(use())
    of_session(server, name)
    table = list(csv.DictReader(io.StringIO(command(server, "audit", "export", "--format", "csv"))))
    assert name in {row["session"] for row in table}
    assert {row["event"] for row in exported(server, "--principal", "admin")} >= {"opened", "ended"}
    assert exported(server, "--until", "2020-01-01") == []
    assert exported(server, "--since", "2999-01-01T00:00:00Z") == []
    assert "up" not in command(server, "db", "check")
    assert "is up to date" in command(server, "db", "upgrade")


def test_a_locked_database_is_told_and_ends_no_session(server):
    file = Path(server.environment["STATE_DIR"]) / f"{server.instance}.sqlite3"
    other = sqlite3.connect(file, isolation_level=None)

    async def use() -> str:
        async with session(server, "bash", headers=AUTH) as client:
            other.execute("BEGIN IMMEDIATE")
            await client.run(1, "read line; echo $line", entry="main.sh")

            def told() -> bool:
                status, document = server.ask("api/ready")
                return status == 200 and any("database" in one for one in document["degraded"])

            wait_until(told, 20, "the lock in /api/ready")
            await client.input(1, b"still here\n")
            await client.until(1, "still here")
            await client.ended(1)
            other.execute("ROLLBACK")
            wait_until(lambda: server.get("api/ready")["degraded"] == [], 30, "the database to be used again")
            return client.opened.session

    name = asyncio.run(use())
    other.close()
    assert [row["event"] for row in of_session(server, name)] == ["opened", "ran", "ended"]


def test_a_callers_data_is_exported_and_erased(server):
    async def use() -> str:
        async with session(server, "bash", headers=AUTH) as client:
            return client.opened.session

    of_session(server, asyncio.run(use()))
    kept = json.loads(command(server, "audit", "export-person", "--principal", "admin"))
    assert {row["event"] for row in kept["audit"]} >= {"opened", "ended"}
    command(server, "audit", "erase", "--principal", "admin")
    assert json.loads(command(server, "audit", "export-person", "--principal", "admin"))["audit"] == []
    [erased] = [row for row in exported(server) if row["event"] == "erased"]
    assert erased["details"]["rows"] >= len(kept["audit"])
    assert "admin" not in json.dumps(erased)
