"""API keys of a running server: made, listed, used, expired, revoked."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from coderunner.identity import stored
from coderunner.schema import messages as m
from tests.harness import ROOT, Server, attach, eventually, running_server, session
from tests.web.test_identity import asked, bearer, opened

SEEN_SECONDS = 5.0  # within which a running server knows of a change


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("keys")
    with running_server(
        folder,
        ready=("bash",),
        LANGUAGES="bash",
        WARM_MAX="2",
        ANONYMOUS="no",
        LOG_LEVEL="debug",
        FACADES="piston",
    ) as one:
        yield one


def keys(server: Server, *words: str, code: int = 0) -> str:
    """Runs `coderunner keys`; returns its output."""
    done = subprocess.run(
        [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "keys", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "server"), **server.environment},
        cwd=server.log.parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout.strip() if code == 0 else done.stderr


async def status(server: Server, key: str, path: str = "api/identity") -> int:
    return (await asked(server, path, headers=bearer(key)))[0]


async def known(server: Server, key: str) -> None:
    async def good() -> bool:
        return await status(server, key) == 200

    await eventually(good, SEEN_SECONDS, "the key opens something")


async def test_a_key_from_its_making_to_its_end(server):
    key = keys(server, "add", "grader", "--room", "algebra")
    await known(server, key)
    _, told = await asked(server, "api/identity", headers=bearer(key))
    assert (told["name"], told["roles"], told["rooms"], told["how"]) == (
        "grader",
        ["user"],
        ["algebra"],
        "api_key",
    )
    assert await opened(server, headers=bearer(key)) == "opened"
    ident = key.split("_")[1]
    assert f"principal=key:{ident}" in server.log.read_text()
    listed = json.loads(keys(server, "list", "--json"))
    row = next(one for one in listed if one["id"] == ident)
    assert (row["name"], row["state"], row["expires"]) == ("grader", "good", None)
    secret = key.split("_", 2)[2]  # which may have underscores itself
    assert secret not in keys(server, "list")
    assert secret not in server.log.read_text()
    for file in (server.log.parent / server.environment["STATE_DIR"]).glob("*sqlite*"):
        assert secret.encode() not in file.read_bytes(), "only its hash is stored"
    assert ident in keys(server, "revoke", ident)
    began = time.monotonic()

    async def refused() -> bool:
        return await status(server, key) == 401

    await eventually(refused, SEEN_SECONDS, "the revoked key opens nothing")
    assert time.monotonic() - began < SEEN_SECONDS
    assert await opened(server, headers=bearer(key)) == "unauthenticated 4401"
    assert "revoked" in keys(server, "list")
    assert "no such key" in keys(server, "revoke", ident, code=1)


async def test_a_key_with_an_end(server):
    key = keys(server, "add", "short", "--days", "0.00006")  # five seconds

    async def refused() -> bool:
        return await status(server, key) == 401

    await known(server, key)
    await eventually(refused, 10, "the expired key opens nothing")


@pytest.mark.parametrize("end", ["revoked", pytest.param("expired", marks=pytest.mark.long)])
async def test_the_end_of_a_key_closes_its_sockets(server, end):
    days = ("--days", "0.0003") if end == "expired" else ()  # 26 seconds
    key = keys(server, "add", f"to-be-{end}", *days)
    ident, expires = key.split("_")[1], time.time() + 26
    await known(server, key)
    async with (
        session(server, "bash", keep=True, headers=bearer(key)) as owner,
        attach(server, owner.opened, role="watch", headers=bearer(key)) as watcher,
    ):
        if end == "revoked":
            keys(server, "revoke", ident)
            expires = time.time()
        for one in (owner, watcher):
            assert await one.closed(40) == 4401
            assert [each.code for each in one.messages if isinstance(each, m.ErrorMessage)] == [
                "unauthenticated"
            ]
        assert time.time() < expires + SEEN_SECONDS
        opened = owner.opened
    # The session is its token's.
    async with attach(server, opened) as again:
        await again.send(m.Close())
        await again.closed()


SLOW = {"language": "bash", "source": "echo begun; sleep 30; echo too late"}


async def test_the_end_of_a_key_ends_requests_that_wait(server):
    """As it closes sockets: nothing is told any more to who holds it."""
    key = keys(server, "add", "to-be-revoked")
    await known(server, key)
    events = {**bearer(key), "Accept": "text/event-stream"}
    async with (
        aiohttp.ClientSession(server.url) as http,
        http.post("api/run", json=SLOW, headers=events) as one,
    ):
        waiting = asyncio.create_task(asked(server, "api/run", "POST", json=SLOW, headers=bearer(key)))
        text = b""
        while b"begun" not in text:
            text += await one.content.readany()
        keys(server, "revoke", key.split("_")[1])
        async with asyncio.timeout(SEEN_SECONDS):
            status, told = await waiting
            assert (status, told["code"]) == (401, "unauthenticated")
            # Broken off, so that it is not taken for the whole.
            with pytest.raises(aiohttp.ClientPayloadError):
                await one.content.read()


async def test_a_key_that_ends_while_a_body_arrives_begins_nothing(server):
    key = keys(server, "add", "to-be-revoked")
    await known(server, key)
    ended = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"language": "bash", '
        await ended.wait()
        yield b'"source": "echo too late"}'

    async def refused() -> bool:
        return await status(server, key) == 401

    before = server.log.read_text().count("session opened")
    # With a key of its own it would go on without its caller.
    headers = {**bearer(key), "Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(16)}
    async with aiohttp.ClientSession(server.url, headers=headers) as http:
        sending = asyncio.create_task(http.post("api/run", data=body()))
        await asyncio.sleep(0.5)
        keys(server, "revoke", key.split("_")[1])
        await eventually(refused, SEEN_SECONDS, "the revoked key opens nothing")
        ended.set()
        async with await sending as answer:
            assert (answer.status, (await answer.json())["code"]) == (401, "unauthenticated")
    await asyncio.sleep(1)
    assert server.log.read_text().count("session opened") == before


async def test_the_end_of_a_key_ends_pistons_sockets(server):
    # Piston's programs have three seconds. On a busy machine the command that ends the key takes longer.
    for _ in range(5):
        if await ended_by_its_key(server):
            return
    raise AssertionError("each time the program ended first")


async def ended_by_its_key(server: Server) -> bool:
    """Whether a socket of Piston's was ended by the end of its key, and not by the end of its program."""
    key = keys(server, "add", "to-be-revoked")
    await known(server, key)
    files = [{"content": SLOW["source"]}]
    async with (
        aiohttp.ClientSession(server.url, headers=bearer(key)) as http,
        http.ws_connect("api/v2/connect") as socket,
    ):
        await socket.send_json({"type": "init", "language": "bash", "version": "*", "files": files})
        while (await socket.receive_json()).get("data") != "begun\n":
            pass
        keys(server, "revoke", key.split("_")[1])
        async with asyncio.timeout(SEEN_SECONDS):
            first = await socket.receive_json()
            if first["type"] == "exit":
                return False
            assert first["type"] == "error"
            assert (await socket.receive()).data == 4002
            return True


async def read_after(server: Server, key: str, answer: aiohttp.ClientResponse) -> None:
    """Reads what there is of a long answer some time after its key was revoked."""
    await answer.content.readany()
    keys(server, "revoke", key.split("_")[1])
    await asyncio.sleep(SEEN_SECONDS)
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer.read()


@pytest.mark.long
async def test_the_end_of_a_key_ends_an_answer_that_is_being_read(server):
    key = keys(server, "add", "to-be-revoked")
    await known(server, key)
    # 12 MB, as each byte takes six in JSON: more than what the kernel keeps of it.
    body = {"source": "head -c 2M /dev/zero | tr '\\0' '\\1'", "limits": {"output_bytes": 2 << 20}}
    body["language"] = "bash"
    async with (
        aiohttp.ClientSession(server.url, headers=bearer(key)) as http,
        http.post("api/run", json=body) as answer,
    ):
        assert answer.content_length > 12_000_000
        await read_after(server, key, answer)


@pytest.mark.long
async def test_the_end_of_a_teachers_key_ends_the_collecting_of_files(server):
    teacher = keys(server, "add", "to-be-revoked", "--role", "teacher", "--room", "algebra")
    pupil = keys(server, "add", "pupil", "--room", "algebra")
    await known(server, pupil)
    async with session(server, "bash", headers=bearer(pupil)) as client:
        await client.run(1, "for n in {1..5}; do head -c 3M /dev/urandom >$n; done", entry="main.sh")
        await client.ended(1)
        async with (
            aiohttp.ClientSession(server.url, headers=bearer(teacher)) as http,
            http.get("api/rooms/algebra/archive") as answer,
        ):
            assert answer.status == 200
            await read_after(server, teacher, answer)


@pytest.mark.long
async def test_when_a_key_was_used_last(server):
    key, other = keys(server, "add", "used"), keys(server, "add", "never")
    await known(server, key)

    def last(text: str) -> str | None:
        rows = json.loads(keys(server, "list", "--json"))
        return next(one["last_used"] for one in rows if one["id"] == text.split("_")[1])

    await eventually(lambda: last(key), 30, "when it was used")
    assert last(other) is None


async def test_what_a_keys_scopes_and_roles_allow(server):
    runs = keys(server, "add", "runner", "--scope", "run")
    metrics = keys(server, "add", "prometheus", "--role", "operator", "--scope", "metrics")
    for key in (runs, metrics):
        await known(server, key)
    assert await opened(server, headers=bearer(runs)) == "not_allowed 4403"
    assert await status(server, runs, "metrics") == 403
    assert await status(server, metrics, "metrics") == 200
    assert await opened(server, headers=bearer(metrics)) == "not_allowed 4403"
    assert "needs the role operator" in keys(server, "add", "x", "--scope", "metrics", code=1)
    assert "printable" in keys(server, "add", "a\nb", code=1)
    assert "room" in keys(server, "add", "x", "--room", "../x", code=1)
    assert "--days" in keys(server, "add", "x", "--days", "0", code=1)


def test_a_server_looks_often_enough():
    assert stored.LOOK_SECONDS + stored.SECONDS < SEEN_SECONDS
