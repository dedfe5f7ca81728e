"""Quotas on a real server: refusals, messages, and that a restart resets nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import urllib.error
import urllib.request

import pytest

from coderunner.schema import messages as m
from tests.harness import Server, connect, running_server, session, start_server, wait_ready, wait_until

KEY = "0123456789abcdef-ABCDEF-0123456789"
QUOTAS = """
[anonymous]
runs_per_minute = 3
cpu_seconds_per_day = 3
output_bytes_per_day = 2000000
languages = ["bash"]
groups = false
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    one = tmp_path_factory.mktemp("quotas")
    (one / "quotas.toml").write_text(QUOTAS)
    return one


@pytest.fixture(scope="module")
def server(folder):
    settings = {
        "LANGUAGES": "bash,c", "WARM_MAX": "1", "ADMIN_KEY": KEY, "TRUSTED_PROXIES": "127.0.0.1",
        "QUOTAS_FILE": str(folder / "quotas.toml"), "SESSIONS_PER_ADDRESS": "3",
    }  # fmt: skip
    with running_server(folder, ready=("bash",), **settings) as one:
        yield one


def of(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


def post(server: Server, address: str, source: str, **headers: str) -> tuple[int, dict, dict[str, str]]:
    body = json.dumps({"language": "bash", "source": source}).encode()
    request = urllib.request.Request(
        server.url + "api/run", body, {"Content-Type": "application/json", **of(address), **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


def use_up(server: Server, address: str) -> tuple[dict, dict[str, str]]:
    """Runs programs until one is refused; starts again once if a minute ends meanwhile."""
    for _ in range(100):
        status, document, headers = post(server, address, "echo hello")
        if document.get("code") == "too_many_sessions":
            continue  # those of the runs before are still ending
        if status != 200:
            assert status == 429, document
            return document, headers
    raise AssertionError("a hundred programs, of three a minute")


def test_programs_of_a_minute_and_what_is_left(server):
    status, _, headers = post(server, "192.0.2.1", "echo hello")
    assert status == 200
    assert headers["RateLimit-Policy"].startswith('"runs";q=3;w=60, "cpu";q=3;w=86400;qu="seconds"')
    assert headers["RateLimit"].startswith('"runs";r=')
    refused, headers = use_up(server, "192.0.2.1")
    assert refused["code"] == "quota_exceeded"
    assert "3 programs in a minute" in refused["detail"]
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert post(server, "192.0.2.2", "echo hello")[0] == 200  # another address


async def test_hello_and_the_session_tell_what_is_left(server):
    async with session(server, "bash", headers=of("192.0.2.3")) as client:
        [hello] = [one for one in client.messages if isinstance(one, m.Hello)]
        assert [(one.kind, one.of) for one in hello.quotas] == [
            ("runs", 3),
            ("cpu", 3),
            ("output", 2_000_000),
        ]
        assert hello.quotas[0].remaining == 3

        def refusal() -> m.ErrorMessage | None:
            return next(
                (one for one in client.messages if getattr(one, "code", "") == "quota_exceeded"), None
            )

        for number in range(1, 8):
            await client.run(number, "echo hello", entry="main.sh")
            one = client.channel(number)
            await client.wait(lambda one=one: one.exit or refusal(), 30, "an end or a refusal")
            if refusal():
                break
        assert refusal().channel == number
        assert refusal().retry_after_ms <= 60_000
        told = [one for one in client.messages if isinstance(one, m.Quotas)]
        assert told[-1].quotas[0].remaining == 0
        assert client.close_code is None  # the session goes on


async def test_output_of_a_day_ends_the_program(server):
    async with session(server, "bash", headers=of("192.0.2.4")) as client:
        client.keep = False
        await client.run(
            1, "while :; do echo 0123456789012345678901234567890123456789; done", entry="main.sh"
        )
        assert (await client.ended(1, 60)).exit.reason == "output_limit"
        [notice] = [one for one in client.messages if isinstance(one, m.Notice)]
        assert notice.code == "quota_exceeded"
    status, document, headers = post(server, "192.0.2.4", "echo hello")
    assert (status, document["code"]) == (429, "quota_exceeded")
    assert int(headers["Retry-After"]) <= 86400


async def test_processor_time_of_a_day_ends_all_programs_together(server):
    async with session(server, "bash", headers=of("192.0.2.5")) as client:
        for number in (1, 2, 3):
            await client.run(number, "while :; do :; done", entry="main.sh")
        for number in (1, 2, 3):
            assert (await client.ended(number, 60)).exit.reason == "cpu_timeout"


async def test_languages_and_groups_of_a_role(server):
    for fields in ({"language": "c"}, {"language": "bash", "network": "group"}):
        async with connect(server.url, headers=of("192.0.2.6")) as client:
            await client.send(m.Open(client=client.client, **fields))
            await client.closed()
            assert client.close_code == 4403


async def test_who_has_a_credential_is_not_counted_by_address(server):
    admin = {"Authorization": f"Bearer {KEY}", **of("192.0.2.7")}
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):  # SESSIONS_PER_ADDRESS is 3
            await stack.enter_async_context(session(server, "bash", headers=admin))
        for _ in range(3):
            await stack.enter_async_context(session(server, "bash", headers=of("192.0.2.7")))
        async with connect(server.url, headers=of("192.0.2.7")) as other:
            await other.send(m.Open("bash", other.client))
            await other.closed()
            assert other.close_code == 4429


def test_parallel_requests_get_no_more(server):
    async def all_at_once() -> list[int]:
        return [
            answer[0]
            for answer in await asyncio.gather(
                *(asyncio.to_thread(post, server, "192.0.2.8", "echo hello") for _ in range(12))
            )
        ]

    # Three of a minute; it may be the next one once.
    assert asyncio.run(all_at_once()).count(200) <= 6
    # Those that were refused once they had a session leave none behind, which would wait for a client.
    wait_until(lambda: server.stats()["queue"]["active"] == 0, 20, "no session that is left")


def test_a_restart_gives_nothing_back(folder):
    settings = {
        "LANGUAGES": "bash", "WARM_MAX": "1", "TRUSTED_PROXIES": "127.0.0.1",
        "QUOTAS_FILE": str(folder / "quotas.toml"),
    }  # fmt: skip
    with running_server(folder, ready=("bash",), **settings) as server:
        source = "head -c 1100000 /dev/zero | tr '\\0' x"  # a run may have one MiB
        for _ in range(2):
            assert post(server, "192.0.2.1", source)[0] == 200
        assert post(server, "192.0.2.1", "echo")[1]["code"] == "quota_exceeded"
        server.stop(signal.SIGTERM)
        next_one = start_server(server.environment, server.log)
        server.process, server.url = next_one.process, next_one.url
        wait_ready(server, ("bash",))

        def refused() -> bool:
            return post(server, "192.0.2.1", "echo")[1].get("code") == "quota_exceeded"

        wait_until(refused, 20, "the next server to know what was used")
