"""Whom the server tells the end of a Judge0 submission, and whom never."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from coderunner.facades.callbacks import Callbacks, is_public
from tests.harness import eventually
from tests.sessions.test_faults import Bug, faults

HOST = "grader.example.com"


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[tuple[str, str, Any]]]]:
    """A server that keeps what it is sent: (method and path, Host, body); below /away it sends elsewhere."""
    heard: list[tuple[str, str, Any]] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append((f"{request.method} {request.path}", request.headers["Host"], await request.json()))
        if request.path == "/away":
            return web.Response(status=307, headers={"Location": "/elsewhere"})
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1], heard
    finally:
        await runner.cleanup()


def callbacks(addresses: list[str], public: Callable[[str], bool]) -> tuple[Callbacks, list[str]]:
    """Callbacks for which HOST has these addresses, and the names that they looked up."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return addresses

    return Callbacks((HOST,), 2, 5.0, resolve, public), asked


async def document() -> Any:
    return {"token": "a", "status": {"id": 3}}


async def test_the_address_that_was_checked_is_told_and_no_redirect_followed():
    async with listening() as (port, heard):
        told, asked = callbacks(["127.0.0.1"], lambda address: True)
        told.tell(f"http://{HOST}:{port}/here?x=1", document)
        told.tell(f"http://{HOST}:{port}/away", document)
        await eventually(lambda: len(heard) == 2, 10, "both callbacks")
        await told.close()
    assert {one[0] for one in heard} == {"PUT /here", "PUT /away"}
    assert {one[1] for one in heard} == {f"{HOST}:{port}"}
    assert heard[0][2] == await document()
    assert asked == [HOST, HOST]


async def test_a_fault_at_one_callback_is_logged_and_ends_no_other(caplog):
    async def broken() -> Any:
        raise Bug("for a test")

    async with listening() as (port, heard):
        told, _ = callbacks(["127.0.0.1"], lambda address: True)
        told.tell(f"http://{HOST}:{port}/broken", broken)
        told.tell(f"http://{HOST}:{port}/here", document)
        await eventually(lambda: heard and faults(caplog), 10, "the other callback, and the fault in the log")
        await told.close()
    assert [one[0] for one in heard] == ["PUT /here"]
    assert faults(caplog)[0] == {"owner": "callbacks", "task": "callback"}


async def test_a_host_with_an_address_of_the_operators_is_not_told():
    async with listening() as (port, heard):
        # The real judgement: 127.0.0.1 is not of the internet, whatever stands beside it.
        told, asked = callbacks(["93.184.216.34", "127.0.0.1"], is_public)
        told.tell(f"http://{HOST}:{port}/here", document)
        await eventually(lambda: len(asked) == 2, 10, "both tries")
        await asyncio.wait_for(told.close(), 10)
    assert heard == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"https://{HOST}/x", ""),
        (f"http://{HOST}:8080/x", ""),
        ("http://other.example.com/", "is of a host that is not allowed"),
        (f"http://{HOST}.example.net/", "is of a host that is not allowed"),
        (f"http://{HOST}@example.net/", "must have no user and password"),
        (f"http://me:secret@{HOST}/", "must have no user and password"),
        (f"ftp://{HOST}/", "must begin with http:// or https://"),
        (f"http://{HOST}:99999/", "is not a valid address"),
        ("http://[::1", "is not a valid address"),
        ("file:///etc/passwd", "must begin with http:// or https://"),
        (f"http://{HOST}/" + "x" * 2048, "must begin with http:// or https://"),
    ],
)
async def test_addresses(url: str, said: str):
    told, _ = callbacks([], is_public)
    assert told.problem(url) == said


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0",
        "224.0.0.1", "198.18.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
        "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_what_is_not_of_the_internet(address: str):
    assert not is_public(address)


def test_what_is_of_the_internet():
    assert all(is_public(one) for one in ("93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822"))
