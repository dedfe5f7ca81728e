"""A hundred hostile strangers of each kind, through nginx: a typist types on, and a newcomer from another
network gets a session."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time

import pytest

from coderunner.attack.bystander import Bystander, Echo
from coderunner.attack.clients import strangers
from coderunner.attack.stage import Stage
from tests.harness import running_server
from tests.nginx.front import NAME, running_nginx
from tests.reference import BareTerminal, Minute

pytestmark = pytest.mark.long
CASES = {case.name: case for case in strangers.GROUP.cases}
TIMES_CALM = 25.0  # p50, of a calm one of the same minute, or a bare terminal's of the same seconds
CALM = Minute()


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """An nginx, and a server that gives each address some sessions."""
    folder = tmp_path_factory.mktemp("crowded")
    with running_server(
        folder, APP_ENV="production", ANONYMOUS="yes", ADMIN_KEY=secrets.token_hex(32),
        ALLOWED_HOSTS=f"{NAME},127.0.0.1", TRUSTED_PROXIES="127.0.0.1", SESSIONS_PER_ADDRESS="3",
        LANGUAGES="python", WARM_MAX="2", CANARY="off",
    ) as server:  # fmt: skip
        upstream = server.url.removeprefix("http://").rstrip("/")
        with running_nginx(folder, upstream) as front:
            yield front


async def _beside(url: str, script) -> tuple[str, Echo, float]:
    with Bystander(url) as bystander, BareTerminal() as bare:
        await asyncio.sleep(1)  # the shelf is filled again
        began = time.monotonic()
        async with Stage(url) as stage:
            seen = await script(stage)
        ended = time.monotonic()
        echo = await bystander.between(began, ended)
    assert echo is not None, "the bystander's echo stopped"
    return seen, echo, bare.p50(began, ended)


@pytest.mark.parametrize("name", CASES)
async def test_through_nginx(crowded, name, monkeypatch):
    port = crowded.url.rsplit(":", 1)[1].strip("/")
    url = f"https://127.0.0.1:{port}/"
    monkeypatch.setenv("SSL_CERT_FILE", str(crowded.folder / "cert.pem"))

    async def neighbour(_: object) -> str:
        """The attackers' own newcomer may be refused with them; this one comes from elsewhere."""
        async with crowded.session(address=f"127.8.0.{1 + secrets.randbelow(250)}") as client:
            shown = (await client.result(1, "print('served')")).text.strip()
        return f"exited 0: {shown}"

    async def calm(_: Stage) -> str:
        await asyncio.sleep(strangers.SECONDS)
        return await neighbour(_)

    monkeypatch.setattr(strangers, "served", neighbour)
    _, quiet, _ = await CALM.of(lambda: _beside(url, calm))
    seen, echo, beside = await _beside(url, CASES[name].script)
    told = f"p50 {echo.p50:.1f} ms, calm {quiet.p50:.1f}, bare {beside:.1f}; p99 {echo.p99:.1f}"
    print(f"\n{name}: {told}")
    assert seen in CASES[name].expected
    assert echo.p50 < TIMES_CALM * max(quiet.p50, beside)


async def _is_ended(host: str, port: int, tls: ssl.SSLContext | None) -> None:
    """Waits until a request that never comes to its end is ended; nginx's own default is a minute."""
    reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=NAME if tls else None)
    writer.write(b"GET / HTTP/1.1\r\nHost: ")
    await asyncio.wait_for(reader.read(), 40)
    writer.close()


async def test_half_a_header_is_ended_at_both_ports(tmp_path):
    with running_nginx(tmp_path, "127.0.0.1:9") as front:
        tls, plain = (int(url.rstrip("/").rsplit(":", 1)[1]) for url in (front.url, front.plain))
        await asyncio.gather(_is_ended("127.0.0.1", tls, front.tls()), _is_ended("127.0.0.1", plain, None))
