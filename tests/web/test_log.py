"""What the log of a real server contains, and what it must never contain."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.parse

import aiohttp
import msgspec

from coderunner import __version__
from coderunner.client.rest import Rest
from coderunner.schema import messages as m
from tests.harness import Server, connect, running_server, session, wait_until

SECRET = "hunter2-of-the-user"


def lines(server: Server) -> list[dict]:
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def said(server: Server, text: str) -> list[dict]:
    return [line for line in lines(server) if line["msg"] == text]


async def use(server: Server) -> str:
    """Opens a session in which a secret is typed, stored and printed; returns its token."""
    async with session(server, "bash") as client:
        token = client.opened.token
        program = f"echo {SECRET} | tee secret.txt; read line; echo {SECRET}$line"
        await client.run(1, program, entry="main.sh")
        await client.until(1, SECRET)
        await client.input(1, f"{SECRET}\n".encode())
        await client.ended(1)
    return token


def test_the_first_lines_say_what_runs_here(tmp_path):
    settings = {"LANGUAGES": "bash", "WARM_MAX": "1", "LOG_FORMAT": "json", "MAX_CONCURRENT_SESSIONS": "7"}
    with running_server(tmp_path, ready=("bash",), **settings) as server:
        first = lines(server)[0]
        assert first["msg"] == f"CodeRunner {__version__} starts in development"
        assert (first["version"], first["mode"], first["instance"]) == (
            __version__, "development", server.instance,
        )  # fmt: skip
        assert (first["sessions"], first["memory_bytes"], first["languages"]) == (7, 256 * 1024**2, 1)
        [engine] = [line for line in lines(server) if line["msg"].startswith("container engine ")]
        assert engine["version"] in engine["msg"]
        assert engine["runtime"] == "runc"
        assert engine["cgroup"] in (1, 2)
        assert said(server, "Initializing worker pool with 4 threads")


def test_debug_says_what_was_decided_and_how_long_it_took(tmp_path):
    settings = {"LANGUAGES": "bash", "WARM_MAX": "1", "LOG_FORMAT": "json", "LOG_LEVEL": "debug"}
    with running_server(tmp_path, ready=("bash",), **settings) as server:
        token = asyncio.run(use(server))
        server.stop()
        calls = {line["call"] for line in said(server, "engine call")}
        assert {"create", "attach", "start", "remove"} <= calls
        assert all(line["ms"] >= 0 for line in said(server, "engine call"))
        [slot] = said(server, "slot given")
        assert (slot["language"], slot["active"], slot["queued"]) == ("bash", 1, 0)
        [attached] = said(server, "attached")
        [detached] = said(server, "detached")
        assert attached["session"] == detached["session"]
        assert (attached["role"], attached["attachments"], detached["attachments"]) == ("control", 1, 0)
        assert said(server, "warm container taken")
        assert any(line["work"] == "provision bash" for line in said(server, "work done"))
        text = server.log.read_text()
        assert SECRET not in text
        assert token not in text


def test_info_says_none_of_it(tmp_path):
    settings = {"LANGUAGES": "bash", "WARM_MAX": "1", "LOG_FORMAT": "json", "LOG_LEVEL": "info"}
    with running_server(tmp_path, ready=("bash",), **settings) as server:
        asyncio.run(use(server))
        server.stop()
        assert {line["level"] for line in lines(server)} <= {"info", "warning"}
        assert not said(server, "engine call")


async def refused(server: Server) -> None:
    async with connect(server.url, "ws/nobody") as one:
        await one.send(m.Attach("nobody", "t" * 32, one.client))
        assert await one.closed() == 4404


def test_who_came_from_where_and_for_how_long(tmp_path):
    key, request = "k" * 40, "0123456789abcdef" * 2
    settings = {"LANGUAGES": "bash", "WARM_MAX": "1", "LOG_FORMAT": "json", "ADMIN_KEY": key}
    with running_server(tmp_path, ready=("bash",), TRUSTED_PROXIES="127.0.0.1", **settings) as server:

        async def visit() -> None:
            proxied = {"Authorization": f"Bearer {key}", "X-Request-ID": request}
            async with session(server, "bash", headers=proxied) as client:
                nobodys = Rest(server.url, msgspec.structs.replace(client.opened, session="nobody"))
                assert (await nobodys("GET", "/files/x")).status == 404
            await refused(server)

        asyncio.run(visit())
        server.stop()
        [opened], [ended] = said(server, "session opened"), said(server, "session ended")
        for line in (opened, ended):
            assert (line["address"], line["principal"], line["language"]) == ("127.0.0.1", "admin", "bash")
        assert opened["session"] == ended["session"]
        assert opened["request"] == request, "the line of the proxy about the same request can be found"
        assert opened["warm"] in (True, False)
        assert opened["queue_ms"] >= 0
        assert opened["provision_ms"] >= 0
        assert ended["reason"] == "client"
        assert 0 <= ended["seconds"] < 60
        [line] = said(server, "connection refused")
        assert (line["code"], line["address"]) == ("no_session", "127.0.0.1")
        [line] = said(server, "request refused")
        assert (line["code"], line["address"]) == ("no_session", "127.0.0.1")


def test_a_run_over_http_is_whose_it_was(tmp_path):
    """Lines about its session and its end can be joined with the proxy's line about the request."""
    request = "0123456789abcdef" * 2
    settings = {"LANGUAGES": "bash", "WARM_MAX": "1", "LOG_FORMAT": "json", "TRUSTED_PROXIES": "127.0.0.1"}
    with running_server(tmp_path, ready=("bash",), **settings) as server:

        async def ask() -> None:
            async with aiohttp.ClientSession() as http:
                document = {"language": "bash", "source": "echo x"}
                headers = {"X-Request-ID": request, "X-Forwarded-For": "192.0.2.7"}
                async with http.post(server.url + "api/run", json=document, headers=headers) as answer:
                    assert (await answer.json())["exit"]["code"] == 0

        asyncio.run(ask())
        server.stop()
        [opened], [ended] = said(server, "session opened"), said(server, "run ended")
        assert opened["session"] == ended["session"]
        for line in (opened, ended):
            assert (line["address"], line["request"], line["language"]) == ("192.0.2.7", request, "bash")
        assert ended["seconds"] >= 0


def test_an_address_that_opens_a_file_stands_in_no_line(tmp_path):
    """The capability is in no line, whatever fails and in whatever encoding it is requested."""
    settings = {"LANGUAGES": "python", "WARM_MAX": "1", "LOG_FORMAT": "json", "LOG_LEVEL": "debug"}
    with running_server(tmp_path, ready=("python",), **settings) as server:

        async def ask() -> tuple[str, list[int]]:
            async with session(server) as client:
                await client.result(1, "open('x.png', 'wb').write(b'1' * 100)")
                await client.wait(lambda: any(isinstance(one, m.Artifact) for one in client.messages))
                [url] = [one.url for one in client.messages if isinstance(one, m.Artifact)]
                rest = Rest(server.url, client.opened)
                seen = [await asyncio.to_thread(ask_raw, server.url, *one) for one in attempts(url)]
                await rest("POST", "/views", document={"urls": [url, url + "x"]})
            seen.append(await asyncio.to_thread(ask_raw, server.url, "GET", url, {}))
            return url.split("/")[2], seen

        leave, seen = asyncio.run(ask())
        server.stop()
        assert 200 in seen, "the address was good"
        assert {404, 405, 400} <= set(seen), seen
        assert 500 not in seen
        text = server.log.read_text()
        assert said(server, "request refused")
        assert leave not in text
        assert "".join(f"%{ord(one):02x}" for one in leave) not in text
        assert "Traceback" not in text


def attempts(url: str) -> list[tuple[str, str, dict[str, str]]]:
    """Requests that succeed, and that fail in all ways."""
    view, name, leave, path = url.split("/")
    encoded = "".join(f"%{ord(one):02x}" for one in leave)
    return [
        ("GET", url, {}), ("HEAD", url, {}), ("POST", url, {}), ("PUT", url, {}), ("OPTIONS", url, {}),
        ("GET", f"{view}/{name}/{encoded}/{path}", {}), ("GET", f"vi%65w/{name}/{leave}/{path}", {}),
        ("GET", f"/{url}", {}), ("GET", f"{url}/", {}), ("GET", f"{view}/{name}/{leave}", {}),
        ("GET", f"{view}/{name}/{leave}/../x", {}), ("GET", f"{view}/{name}/{leave}/%2e%2e/x.png", {}),
        ("GET", f"{view}/{name}/{leave}/%00", {}), ("GET", f"{view}/{name}/{leave}/{'x' * 3000}", {}),
        ("GET", f"{view}/x{name}/{leave}/{path}", {}), ("GET", f"{view}//{leave}/{path}", {}),
        ("GET", f"x/{url}", {}), ("GET", f"static/{url}", {}), ("GET", f"ws/{leave}", {}),
        ("GET", f"{url}?{leave}", {}), ("GET", url, {"Referer": f"http://x/{url}", "Range": "bytes=500-"}),
        ("GET", url, {"Content-Encoding": "gzip"}), ("GET", url, {"Host": "elsewhere"}),
        ("GET", url, {"Expect": leave}), ("GET", url, {"Content-Length": leave}),
        ("GET", url, {"Transfer-Encoding": leave}), (leave, url, {}), ("GET", f"{url}\x7f", {}),
    ]  # fmt: skip


def ask_raw(base: str, method: str, path: str, headers: dict[str, str]) -> int:
    """Returns the status of a request that no library normalises."""
    parts = urllib.parse.urlsplit(base)
    lines = {"Host": parts.netloc, "Connection": "close", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection((parts.hostname, parts.port), 10) as connection:
        connection.sendall(f"{method} /{path} HTTP/1.1\r\n{head}\r\n".encode())
        answer = connection.makefile("rb").readline()
    return int(answer.split()[1])


def test_a_body_that_ends_in_the_middle_is_one_line(tmp_path):
    settings = {"LANGUAGES": "bash", "WARM_MAX": "1", "LOG_FORMAT": "json"}
    with running_server(tmp_path, ready=("bash",), **settings) as server:
        host, port = urllib.parse.urlsplit(server.url).netloc.split(":")
        for how in ("Content-Length: 1000", "Transfer-Encoding: chunked"):
            with socket.create_connection((host, int(port)), timeout=10) as client:
                head = ("POST /api/run HTTP/1.1", f"Host: {host}", "Content-Type: application/json", how)
                client.sendall("\r\n".join((*head, "", "3\r\n{  \r\n")).encode())
                client.shutdown(socket.SHUT_WR)
        wait_until(lambda: len(said(server, "request broken off")) == 2, 10, "a line for each")
        assert "Traceback" not in server.log.read_text()
