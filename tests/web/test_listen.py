"""The listening address: bound before it is open, and by one server only."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from aiohttp import web

from coderunner import config
from coderunner.errors import CannotStart, ConfigError
from coderunner.web.guard import address_of
from coderunner.web.keys import TCP_CONNECTIONS
from coderunner.web.listen import bound, listening
from coderunner.web.tcp_limits import TcpConnections

SETTINGS = config.load(
    {"APP_ENV": "production", "ADMIN_KEY": "0123456789abcdef" * 2, "ALLOWED_HOSTS": "a.example"}
)


def application() -> web.Application:
    async def who(request: web.Request) -> web.Response:
        return web.Response(text=address_of(SETTINGS, request))

    app = web.Application()
    app[TCP_CONNECTIONS] = TcpConnections(lambda address: False)
    app.add_routes([web.get("/", who)])
    return app


async def ask(url: str, path: str | None = None, **headers: str) -> str:
    connector = aiohttp.UnixConnector(path) if path else aiohttp.TCPConnector()
    async with aiohttp.ClientSession(connector=connector) as client:
        async with client.get(url, headers=headers) as answer:
            return await answer.text()


async def test_every_address_is_ipv4_as_well():
    with bound("::", 0) as sockets:
        async with listening(application(), sockets, "::") as url:
            port = url.rsplit(":", 1)[1].strip("/")
            assert await ask(f"http://127.0.0.1:{port}/") == "127.0.0.1"
            assert await ask(f"http://[::1]:{port}/") == "::/64"  # as IPv6 clients are counted


async def test_a_port_is_held_before_it_is_open():
    with bound("127.0.0.1", 0) as sockets:
        port = sockets[0].getsockname()[1]
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask(f"http://127.0.0.1:{port}/")
        async with listening(application(), sockets, "127.0.0.1"):
            assert await ask(f"http://127.0.0.1:{port}/") == "127.0.0.1"
            with pytest.raises(CannotStart, match="cannot be listened on"), bound("127.0.0.1", port):
                pass


async def test_of_two_that_hold_a_port_at_once_one_is_refused():
    """The kernel lets both bind as long as neither listens."""
    with bound("127.0.0.1", 0) as first:
        port = first[0].getsockname()[1]
        with bound("127.0.0.1", port) as second:
            async with listening(application(), first, "127.0.0.1"):
                with pytest.raises(CannotStart, match="cannot be listened on"):
                    async with listening(application(), second, "127.0.0.1"):
                        pass


async def test_a_socket_of_the_file_system(tmp_path):
    path = tmp_path / "http.sock"
    host = f"unix:{path}"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # by a server that was killed
    with bound(host, 0) as sockets:
        async with listening(application(), sockets, host) as url:
            assert url == host
            assert path.stat().st_mode & 0o777 == 0o660
            assert await ask("http://x/", str(path)) == "127.0.0.1"
            forwarded = {"X-Forwarded-For": "203.0.113.9"}
            assert await ask("http://x/", str(path), **forwarded) == "203.0.113.9"
            with pytest.raises(CannotStart, match="Address already in use"), bound(host, 0):
                pass
    assert list(tmp_path.iterdir()) == []


async def test_a_file_in_its_place_is_left_alone(tmp_path):
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(CannotStart, match="is not a socket"), bound(f"unix:{path}", 0):
        pass
    assert path.read_text() == "mine"


@pytest.mark.parametrize("text", ["unix:relative.sock", "unix:", "unix:/folder/"])
def test_a_path_that_is_none_is_told(text: str):
    with pytest.raises(ConfigError, match="absolute path"):
        config.load({"HOST": text})
