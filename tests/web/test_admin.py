"""The operator's interface: only operators can use it, and its data are true."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time

import aiohttp
import pytest
from msgspec.structs import replace

from coderunner import cli
from coderunner.client.kept import Login, Store
from coderunner.client.live import Live
from coderunner.client.refused import Refused
from coderunner.client.visit import Visit
from coderunner.identity import principal
from coderunner.schema import admin as schema
from coderunner.schema import messages as m
from coderunner.web.admin.routes import PREFIX
from coderunner.web.routes import OPERATIONS
from tests.harness import attach, connect, eventually, running_server, session
from tests.web.ordering import again, ask, run

KEY = "0123456789abcdef-ABCDEF-0123456789"
OPERATOR = {"Authorization": f"Bearer {KEY}"}
ROUTES = [(one.method, one.path) for one in OPERATIONS if one.path.startswith(PREFIX)]
BUSY = "import time\nprint('begun', flush=True)\nwhile True:\n    print('x' * 100, flush=True)\n"
ECHO = "while True:\n    print('got ' + input(), flush=True)\n"


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    settings = {
        "ADMIN_KEY": KEY, "LANGUAGES": "python", "WARM_MAX": "1", "MAX_CONCURRENT_SESSIONS": "2",
        "PROXY_USER_HEADER": "X-User", "TRUSTED_PROXIES": "127.0.0.1", "OPERATORS": "proxy:boss",
    }  # fmt: skip
    with running_server(tmp_path_factory.mktemp("room"), **settings) as one:
        yield one


@pytest.fixture
def command(room, monkeypatch, capfd):
    """Runs a command of `coderunner` as the operator; returns its exit code and what it has printed."""
    monkeypatch.setenv("CODERUNNER_URL", room.url)
    monkeypatch.setenv("CODERUNNER_KEY", KEY)

    async def call(*words: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(cli.main, words)
        return code, *capfd.readouterr()

    return call


async def operator(server, method: str, path: str, body=None, status: int = 200, **headers: str):
    reply = await ask(server, method, f"api/admin/{path}", json=body, headers={**OPERATOR, **headers})
    assert reply.status == status, reply.document
    return reply.document


async def listed(server, name: str):
    sessions = (await operator(server, "GET", "sessions"))["sessions"]
    return next((one for one in sessions if one["session"] == name), None)


def written(server, words: str, name: str) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if words in line and name in line]


class TestWhoMay:
    """Over the table of routes, so that later routes are included."""

    def test_there_are_routes(self):
        assert len(ROUTES) > 15

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_nobody_else_and_no_other_page(self, room, method, path):
        target = room.url + re.sub(r"\{\w+\}", "nobody", path).lstrip("/")
        refused = [
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": f"Bearer {KEY[:-1]}"}, 401),
            ({"Authorization": f"Basic {KEY}"}, 401),
            ({"Cookie": f"key={KEY}"}, 401),
            ({"X-User": "alice"}, 403),
            ({"X-User": "boss", "Origin": "https://evil.example"}, 403),
            ({**OPERATOR, "Origin": "https://evil.example"}, 403),
            ({**OPERATOR, "Origin": "null"}, 403),
            ({**OPERATOR, "Sec-Fetch-Site": "cross-site"}, 403),
            ({**OPERATOR, "Sec-Fetch-Site": "same-site"}, 403),
        ]
        body = {"draining": True, "reason": "x", "text": "x", "action": "prune"}
        async with aiohttp.ClientSession() as http:
            for headers, status in refused:
                async with http.request(method, target, headers=headers, json=body) as answer:
                    assert (answer.status, headers) == (status, headers)
                    assert answer.content_type == "application/problem+json"
                    assert "Access-Control-Allow-Origin" not in answer.headers
        assert not (await operator(room, "GET", "overview"))["draining"]

    async def test_who_has_the_role_may(self, room):
        assert (await ask(room, "GET", "api/admin/sessions", headers={"X-User": "boss"})).status == 200

    async def test_a_sessions_token_is_no_operators(self, room):
        async with session(room) as client:
            headers = {"Authorization": f"Bearer {client.opened.token}"}
            assert (await ask(room, "GET", "api/admin/sessions", headers=headers)).status == 401
            path = f"api/admin/sessions/{client.opened.session}/end"
            assert (await ask(room, "POST", path, headers=headers, json={"reason": "x"})).status == 401

    async def test_without_a_key_this_machine_alone_and_none_of_its_pages(self, server):
        assert (await ask(server, "GET", "api/admin/overview")).status == 200
        assert (
            await ask(server, "GET", "api/admin/overview", headers={"X-Real-IP": "192.0.2.7"})
        ).status == 401
        body = {"json": {"draining": True}}
        for headers in ({"Origin": "http://other.example"}, {"Sec-Fetch-Site": "cross-site"}):
            refused = await ask(server, "PUT", "api/admin/draining", headers=headers, **body)
            assert refused.status in (401, 403)
        assert not server.get("api/admin/overview")["draining"]

    async def test_the_page_is_shown_in_no_frame_and_knows_nothing(self, room):
        async with aiohttp.ClientSession() as http, http.get(room.url + "admin") as answer:
            text = await answer.text()
            assert answer.status == 200
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert room.instance not in text
            assert not re.findall(r"<script(?![^>]* src=)|\son\w+=|//", text.replace("<!doctype", ""))


class TestSessions:
    async def test_what_a_session_uses_is_told(self, room):
        async with session(room) as client:
            name = client.opened.session
            one = await listed(room, name)
            assert (one["language"], one["state"], one["attachments"]) == ("python", "idle", 1)
            assert one["owner"] is None
            assert one["address"] == "127.0.0.1"
            assert 0 < one["memory_bytes"] <= one["memory_limit_bytes"]
            await client.run(1, BUSY)
            await client.until(1, "begun")

            async def busy():
                told = await operator(room, "GET", f"sessions/{name}")
                return told["state"] == "running" and told["cpu_s"] > one["cpu_s"] and told["output_rate"] > 0

            await eventually(busy, 40, "a busy session")
            assert (await listed(room, name))["cpu_percent"] is not None
            await client.send(m.Kill(1))
            await client.ended(1)
        await eventually(lambda: _gone(room, name), 10, "an ended session to be gone")

    async def test_the_owner_is_told_where_there_is_one(self, room):
        async with session(room, headers=OPERATOR) as client:
            assert (await listed(room, client.opened.session))["owner"] == "admin"

    async def test_the_room_is_told_and_counted(self, room, command):
        made = await operator(room, "POST", "keys", {"name": "anna", "rooms": ["algebra-1"]}, 201)
        pupil = {"Authorization": f"Bearer {made['key']}"}
        async with session(room, headers=pupil) as client, session(room) as other:
            assert (await listed(room, client.opened.session))["room"] == "algebra-1"
            assert (await listed(room, other.opened.session))["room"] is None
            _, text, _ = await command("ps")
            head, *rows = [line.split() for line in text.splitlines()]
            rooms = {row[0]: row[head.index("ROOM")] for row in rows}
            assert rooms[client.opened.session] == "algebra-1"
            assert rooms[other.opened.session] == "-"
            assert (await operator(room, "GET", "history?hours=1"))["points"][-1]["rooms"] == {"algebra-1": 1}
            _, text, _ = await command("report", "--days", "1", "--json")
            assert json.loads(text)[-1]["most_sessions_room_algebra-1"] == 1

    async def test_who_is_away_is_away(self, room):
        async with session(room, keep=True) as client:
            name = client.opened.session

        async def away():
            return (await listed(room, name))["state"] == "away"

        await eventually(away, 10, "the client to be gone")
        await operator(room, "POST", f"sessions/{name}/end", {"reason": "left"}, 202)
        await eventually(lambda: _gone(room, name), 10, "the end")

    async def test_a_notice_reaches_all_who_are_attached(self, room):
        async with session(room) as client, attach(room, client.opened, role="watch") as other:
            path = f"sessions/{client.opened.session}/notice"
            words = {"text": "Restart at 10 o’clock <b>"}
            assert (await operator(room, "POST", path, words))["attachments"] == 2
            for one in (client, other):
                told = await one.message(m.Notice)
                assert (told.code, told.message) == ("operator", words["text"])
            for wrong in ("", " ", "a\nb", "a\x1b[2Jb", "x" * 501, "a\u2028b", None, 3):
                refused = await operator(room, "POST", path, {"text": wrong}, 400)
                assert "text" in refused["detail"]

    async def test_an_end_is_told_with_its_reason(self, room):
        async with session(room, keep=True) as client:
            name = client.opened.session
            await client.run(1, ECHO)
            path = f"sessions/{name}/end"
            await operator(room, "POST", path, {"reason": "mining coins"}, 202)
            told = await client.message(m.Notice, which=lambda one: one.code == "evicted")
            assert told.message == "ended by the operator: mining coins"
            assert (await client.message(m.Exit)).reason == "evicted"
            assert (await client.message(m.Closed)).reason == "evicted"
            assert await client.closed() == 1000
        await operator(room, "POST", path, {"reason": "again"}, 404)
        assert written(room, "ended by the operator", name)

    @pytest.mark.parametrize("name", ["nobody", "..%2f..", "x" * 200])
    async def test_what_is_not_there_is_not_found(self, room, name):
        for method, path, body in (
            ("GET", "", None), ("POST", "/watch", None), ("POST", "/notice", {"text": "x"}),
            ("POST", "/end", {"reason": "x"}),
        ):  # fmt: skip
            await operator(room, method, f"sessions/{name}{path}", body, 404)


async def _gone(server, name: str) -> bool:
    return await listed(server, name) is None


class TestWatching:
    async def test_the_operator_sees_and_the_owner_knows(self, room):
        async with session(room) as client:
            name = client.opened.session
            await client.run(1, ECHO, mode="tty", cols=80, rows=24)
            await client.input(1, b"before\n")
            await client.until(1, "got before")
            opened = await _ticket(room, client)
            async with attach(room, opened) as watcher:
                assert (await watcher.message(m.Attached)).role == "watch"
                assert (await client.message(m.Notice)).code == "watched"
                assert (await listed(room, name))["watched"]
                assert (await listed(room, name))["attachments"] == 1
                await watcher.until(1, "got before")
                await client.input(1, b"after\n")
                await watcher.until(1, "got after")
                for wrong in (m.Take(), m.Kill(1), m.Close(), m.Extend(), m.Shell(2, 80, 24)):
                    await watcher.send(wrong)
                    assert await watcher.error_code() == "not_control"
                async with attach(room, client.opened, role="watch") as late:
                    assert (await late.message(m.Notice)).code == "watched"
            assert (await client.message(m.Notice)).code == "unwatched"
            assert written(room, "watched by the operator", name)
            assert written(room, "the operator watches no longer", name)

    async def test_a_ticket_is_for_one_session_and_reads_only(self, room):
        async with session(room) as client, session(room) as other:
            opened = await _ticket(room, client)
            headers = {"Authorization": f"Bearer {opened.token}"}
            path = f"api/sessions/{client.opened.session}/files/x"
            assert (await ask(room, "PUT", path, data=b"x", headers=headers)).status == 403
            # Nor is it for what the users would not be told of.
            for what in ("files", "events", "archive"):
                path = f"api/sessions/{client.opened.session}/{what}"
                assert (await ask(room, "GET", path, headers=headers)).status == 403
            wrong = m.Attach(other.opened.session, opened.token, "somebody-who-has-a-name")
            async with connect(room.url, f"ws/{other.opened.session}") as stranger:
                await stranger.send(wrong)
                assert await stranger.error_code() == "no_session"


async def _ticket(server, client) -> m.Opened:
    """The session as the operator's client knows it."""
    made = await operator(server, "POST", f"sessions/{client.opened.session}/watch", None, 201)
    return replace(client.opened, token=made["token"])


class TestServer:
    async def test_who_waits_is_listed(self, room):
        async with session(room) as one, session(room), connect(room.url) as third:
            await third.send(m.Open("python", third.client, nonce="n" * 22))
            await third.message(m.Queued)
            now = await operator(room, "GET", "overview")
            (waiter,) = now["waiting"]
            assert (waiter["position"], waiter["language"], waiter["address"]) == (1, "python", "127.0.0.1")
            assert waiter["gives_up_s"] > 0
            assert (now["queue"]["active"], now["queue"]["queued"]) == (2, 1)
            await one.send(m.Close())
            await third.wait(lambda: third.opened, 30, "a slot")
            await third.send(m.Close())
            await third.closed()

    async def test_draining_refuses_new_ones_and_live_ones_go_on(self, room):
        async with session(room) as client:
            await client.run(1, ECHO, mode="tty", cols=80, rows=24)
            try:
                told = await operator(room, "PUT", "draining", {"draining": True})
                assert told["draining"]
                assert told["sessions"] >= 1
                async with connect(room.url) as late:
                    await late.send(m.Open("python", late.client))
                    refused = await late.error("draining")
                    assert refused.retryable
                    assert refused.retry_after_ms
                reply = await run(room, entry="main.py", files=[{"path": "main.py", "content": "print(1)"}])
                assert (reply.status, reply.document["code"]) == (503, "draining")
                assert int(reply.headers["Retry-After"]) >= 1
                assert (await ask(room, "GET", "api/ready")).status == 503
                await client.input(1, b"still\n")
                await client.until(1, "got still")
            finally:
                assert not (await operator(room, "PUT", "draining", {"draining": False}))["draining"]
            assert (await ask(room, "GET", "api/ready")).status == 200
        async with session(room) as client:
            assert (await client.result(1, "print('again')")).text == "again\n"

    async def test_settings_are_told_and_secrets_are_not(self, room):
        told = await operator(room, "GET", "settings")
        assert KEY not in json.dumps(told)
        by_name = {one["name"]: one for one in told["settings"]}
        assert (by_name["ADMIN_KEY"]["value"], by_name["ADMIN_KEY"]["secret"]) == ("***", True)
        assert by_name["MAX_CONCURRENT_SESSIONS"]["value"] == "2"
        assert by_name["LANGUAGES"]["value"] == "python"

    async def test_the_log_is_told_with_a_filter(self, room):
        async with session(room) as client:
            name = client.opened.session
            found = await operator(room, "GET", f"log?level=info&text={name}")
            assert "session opened" in [one["msg"] for one in found["records"]]
            assert all(name in one["fields"] for one in found["records"])
            later = await operator(room, "GET", f"log?after={found['last']}&text={name}")
            assert later["records"] == []
            assert len((await operator(room, "GET", "log?limit=3"))["records"]) == 3
        for wrong in ("level=loud", "after=-1", "limit=x", f"text={'x' * 300}"):
            await operator(room, "GET", f"log?{wrong}", None, 400)
        assert KEY not in json.dumps(await operator(room, "GET", "log?limit=1000"))

    async def test_images_are_listed_and_work_on_them_is_followed(self, room):
        (python,) = (await operator(room, "GET", "images"))["images"]
        assert (python["language"], python["status"]) == ("python", "ready")
        assert python["built"]
        for wrong in ({"action": "x"}, {"action": "build", "languages": ["none"]},
                      {"action": "prune", "languages": ["python"]}):  # fmt: skip
            await operator(room, "POST", "images", wrong, 400)
        job = await operator(room, "POST", "images", {"action": "build", "languages": ["python"]}, 202)
        ended = await eventually(lambda: _ended(room, job["id"]), 30, "the job's end")
        assert (ended["state"], ended["lines"]) == ("done", ["python: ready"])
        await operator(room, "DELETE", "images/nothing", None, 404)

    async def test_figures_and_the_report_have_what_happened(self, room):
        async with session(room) as client:
            await client.result(1, "print('counted')")
        found = await operator(room, "GET", "history?hours=1")
        assert found["step"] == 60
        last = found["points"][-1]
        assert sum(one["runs"].get("python", 0) for one in found["points"]) >= 1
        assert last["t"] <= time.time()
        async with aiohttp.ClientSession(headers=OPERATOR) as http:
            async with http.get(room.url + "api/admin/report?days=1") as answer:
                assert answer.content_type == "text/csv"
                head, *rows = (await answer.text()).split("\r\n")[:-1]
        assert head.startswith("day,minutes,sessions_opened,")
        assert "runs_python" in head
        assert len(rows) == 1
        for wrong in ("hours=x", "hours=-1", "hours=99999"):
            await operator(room, "GET", f"history?{wrong}", None, 400)


async def _ended(server, job: str):
    jobs = (await operator(server, "GET", "images"))["jobs"]
    return next((one for one in jobs if one["id"] == job and one["state"] != "running"), None)


async def _waits_for(server, path: str, count: int) -> bool:
    figures = (await operator(server, "GET", path))["figures"]
    return figures["waiting"] == count and figures["sessions"] >= 1


@pytest.mark.long
class TestLong:
    async def test_figures_survive_a_restart(self, tmp_path):
        settings = {"ADMIN_KEY": KEY, "LANGUAGES": "python", "WARM_MAX": "0"}
        with running_server(tmp_path, **settings) as first:
            made = await operator(first, "POST", "keys", {"name": "anna", "rooms": ["algebra-1"]}, 201)
            pupil = {"Authorization": f"Bearer {made['key']}"}
            async with session(first, headers=pupil) as client:
                await client.result(1, "print('before')")

                async def counted():
                    # What lives now is looked at every few seconds, and by who asks for the figures.
                    points = (await operator(first, "GET", "history?hours=1"))["points"]
                    return any(one["rooms"] for one in points)  # a minute may have begun meanwhile

                await eventually(counted, 20, "the session to be counted in its room")

            async def ended():
                points = (await operator(first, "GET", "history?hours=1"))["points"]
                return sum(one["ended"].get("client", 0) for one in points) == 1

            await eventually(ended, 20, "the end to be counted")
            assert first.stop() == 0
            second = again(first, tmp_path)
            try:

                async def there():
                    points = (await operator(second, "GET", "history?hours=1"))["points"]
                    return sum(one["runs"].get("python", 0) for one in points) == 1 and points

                points = await eventually(there, 20, "the figures of the server before")
                rooms = [one["rooms"] for one in points if one["rooms"]]
                assert rooms
                assert all(one == {"algebra-1": 1} for one in rooms)
            finally:
                second.stop()

    async def test_a_load_test_says_that_it_waits_for_places(self, room):
        async with session(room), session(room):  # all that there are
            test = await operator(room, "POST", "load-tests", {"sessions": 2, "seconds": 300}, 202)
            path = f"load-tests/{test['id']}"

            async def waits():
                told = await operator(room, "GET", path)
                return told if told["figures"]["waiting"] == 2 else None

            told = await eventually(waits, 60, "both to wait")
            assert (told["state"], told["figures"]["sessions"]) == ("running", 0)
        await eventually(lambda: _waits_for(room, path, 0), 60, "a place for both")
        await operator(room, "DELETE", path, None, 202)

        async def ended():
            return (await operator(room, "GET", path))["ended"]

        await eventually(ended, 30, "the test's end")

    async def test_a_load_test_is_followed_and_its_report_is_kept(self, tmp_path):
        settings = {"ADMIN_KEY": KEY, "LANGUAGES": "python", "WARM_MAX": "2"}
        with running_server(tmp_path, **settings) as first:
            for wrong in ({"sessions": 0}, {"sessions": 51}, {"seconds": 301}, {"language": "none"}):
                await operator(first, "POST", "load-tests", wrong, 400)
            wanted = {"sessions": 2, "seconds": 2}
            test = await operator(first, "POST", "load-tests", wanted, 202)
            refused = await operator(first, "POST", "load-tests", wanted, 409)
            assert refused["code"] == "already_running"
            path = f"load-tests/{test['id']}"

            async def done():
                told = await operator(first, "GET", path)
                return told if told["state"] != "running" else None

            told = await eventually(done, 90, "the load test's end")
            assert (told["state"], told["figures"]["errors"]) == ("done", {}), told
            assert told["progress"] == 1
            assert told["figures"]["sessions"] >= 2
            assert told["figures"]["runs"] >= 2
            for kind in ("open", "first_byte", "echo"):
                assert 0 < told["figures"][kind]["p50"] <= told["figures"][kind]["p95"]
            long = await operator(first, "POST", "load-tests", {"sessions": 1, "seconds": 300}, 202)
            await operator(first, "DELETE", f"load-tests/{long['id']}", None, 202)

            async def ended():
                return (await operator(first, "GET", f"load-tests/{long['id']}"))["ended"]

            await eventually(ended, 30, "the cancelled test's end")
            assert first.stop() == 0
            second = again(first, tmp_path)
            try:

                async def kept():
                    return (await operator(second, "GET", "load-tests"))["tests"]

                tests = await eventually(kept, 20, "the reports")
                assert [(one["id"], one["state"]) for one in tests] == [
                    (long["id"], "cancelled"), (test["id"], "done"),
                ]  # fmt: skip
            finally:
                second.stop()


class TestCommands:
    async def test_sessions_are_listed_noticed_and_ended(self, room, command):
        async with session(room, keep=True) as client:
            name = client.opened.session
            code, text, _ = await command("ps")
            assert code == 0
            head, *rows = text.splitlines()
            assert head.split()[:5] == ["SESSION", "OWNER", "ROOM", "LANGUAGE", "STATE"]
            (row,) = [one.split() for one in rows if name in one]
            assert row[1:5] == ["127.0.0.1", "-", "python", "idle"]
            code, text, _ = await command("ps", "--json")
            assert name in [one["session"] for one in json.loads(text)["sessions"]]
            assert (await command("notice", name, "back", "soon"))[:2] == (0, f"{name}: sent to 1\n")
            assert (await client.message(m.Notice)).message == "back soon"
            assert (await command("kill", name, "--reason", "time is up"))[0] == 0
            told = await client.message(m.Notice, which=lambda one: one.code == "evicted")
            assert told.message == "ended by the operator: time is up"
        code, _, problem = await command("kill", name)
        assert (code, "no such session" in problem or "session" in problem) == (1, True)

    async def test_drain_resume_and_report(self, room, command):
        try:
            code, text, _ = await command("drain")
            assert (code, text.startswith("no new sessions are taken")) == (0, True)
            assert (await operator(room, "GET", "overview"))["draining"]
        finally:
            code, text, _ = await command("resume")
        assert (code, text.startswith("new sessions are taken")) == (0, True)
        code, text, _ = await command("report", "--days", "1")
        assert (code, text.startswith("day,minutes,")) == (0, True)
        code, text, _ = await command("report", "--days", "1", "--json")
        assert isinstance(json.loads(text)[0]["runs"], int)

    async def test_what_cannot_be_done_is_told(self, room, command, monkeypatch):
        monkeypatch.setenv("CODERUNNER_KEY", "wrong")
        code, _, problem = await command("ps")
        assert (code, "credential" in problem) == (1, True)
        monkeypatch.setenv("CODERUNNER_URL", "http://127.0.0.1:9/")
        assert (await command("ps"))[0] == 75
        assert (await command("ps", "--url", "ftp://x"))[0] == 2
        code, _, problem = await command("ps", "--url", "http://user:hidden@127.0.0.1:9/")
        assert (code, "hidden" in problem) == (2, False)

    async def test_the_key_of_a_login_is_for_the_server_that_is_named(
        self, room, command, monkeypatch, tmp_path
    ):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        monkeypatch.delenv("CODERUNNER_KEY")
        assert (await command("ps"))[0] == 1  # nobody has logged in
        Store(os.environ).log_in(Login(room.url, KEY))
        assert (await command("ps"))[0] == 0
        monkeypatch.delenv("CODERUNNER_URL")
        assert (await command("ps", "--url", room.url))[0] == 0
        # It is shown to that server alone, and does not say which one is meant.
        Store(os.environ).log_in(Login("http://127.0.0.1:9/", KEY))
        assert (await command("ps", "--url", room.url))[0] == 1
        Store(os.environ).log_in(Login(room.url, KEY))
        monkeypatch.setenv("PORT", "9")
        assert (await command("--env-file", "/dev/null", "ps"))[0] == 75

    async def test_coderunner_run_tells_a_notice_and_the_reason_of_the_end(self, room):
        said: list[str] = []
        async with Visit(room.url) as visit:
            files = (m.File("main.py", ECHO.encode()),)
            live = Live(visit, "python", lambda: m.Run(1, "pipe", files=files), noticed=said.append)

            async def follow() -> None:
                with contextlib.suppress(Refused):
                    async for _ in live.output():
                        pass

            following = asyncio.create_task(follow())
            await eventually(lambda: live.reachable, 30, "the program")
            *_, one = (await operator(room, "GET", "sessions"))["sessions"]
            await operator(room, "POST", f"sessions/{one['session']}/notice", {"text": "hello there"})
            await eventually(lambda: said, 10, "the notice")
            await operator(room, "POST", f"sessions/{one['session']}/end", {"reason": "enough"}, 202)
            await asyncio.wait_for(following, 20)
        assert said == ["the operator: hello there", "ended by the operator: enough"]


class TestKeys:
    async def test_a_key_is_made_and_revoked_and_counts_at_once(self, room):
        wanted = {"name": "grader", "roles": ["teacher"], "rooms": ["algebra"], "days": 1}
        made = await operator(room, "POST", "keys", wanted, 201)
        bearer = {"Authorization": f"Bearer {made['key']}"}
        assert made["key"].startswith(f"crk_{made['id']}_")
        told = (await ask(room, "GET", "api/identity", headers=bearer)).document
        assert (told["name"], told["roles"], told["rooms"]) == ("grader", ["teacher", "user"], ["algebra"])
        listed = await operator(room, "GET", "keys")
        row = next(one for one in listed["keys"] if one["id"] == made["id"])
        assert row == {name: value for name, value in made.items() if name != "key"}
        assert made["key"].split("_", 2)[2] not in json.dumps(listed)
        assert made["key"].split("_", 2)[2] not in room.log.read_text()
        assert written(room, "key made", made["id"])
        # By its id alone: a name may be that of several.
        await operator(room, "DELETE", "keys/grader", status=404)
        assert (await ask(room, "GET", "api/identity", headers=bearer)).status == 200
        await operator(room, "DELETE", f"keys/{made['id']}")
        assert (await ask(room, "GET", "api/identity", headers=bearer)).status == 401
        await operator(room, "DELETE", f"keys/{made['id']}", status=404)

    async def test_a_narrow_key_makes_no_wider_one(self, room):
        narrow = await operator(
            room, "POST", "keys", {"name": "room", "roles": ["operator"], "scopes": ["operate"]}, 201
        )
        bearer = {"Authorization": f"Bearer {narrow['key']}"}
        for wanted in ({"roles": ["operator"]}, {}, {"scopes": ["run"]}, {"roles": ["teacher"]}):
            reply = await ask(room, "POST", "api/admin/keys", json={"name": "x", **wanted}, headers=bearer)
            assert (reply.status, reply.document["code"]) == (403, "not_allowed"), wanted
        body = {"name": "x", "roles": ["operator"], "scopes": ["operate"]}
        assert (await ask(room, "POST", "api/admin/keys", json=body, headers=bearer)).status == 201

    @pytest.mark.parametrize(
        "wrong",
        [
            {"name": ""}, {"name": "a\nb"}, {"name": "a\u202eb"}, {"name": "x" * 101}, {"rooms": ["../x"]},
            {"rooms": ["x"] * 65}, {"roles": ["admin"]}, {"scopes": ["metrics"]}, {"scopes": ["x"]},
            {"days": 0}, {"days": -1}, {"days": 1e9}, {"days": "1"},
        ],
    )  # fmt: skip
    async def test_a_wrong_wish_makes_none(self, room, wrong):
        before = len((await operator(room, "GET", "keys"))["keys"])
        await operator(room, "POST", "keys", {"name": "x", **wrong}, 400)
        assert len((await operator(room, "GET", "keys"))["keys"]) == before

    def test_scopes_are_those_of_principals(self):
        assert schema.SCOPES == principal.SCOPES

    async def test_quotas_are_told(self, room):
        told = await operator(room, "GET", "quotas")
        assert [one["role"] for one in told["roles"]] == ["anonymous", "user", "teacher", "operator"]
        assert told["used"] == []
