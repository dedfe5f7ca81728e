"""What the shipped nginx.conf promises: a real nginx with TLS, before a server with production's settings."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import urllib.request
import uuid
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from coderunner.schema import messages as m
from tests.harness import ROOT, eventually, wait_until
from tests.nginx.front import (
    NAME,
    SHIPPED,
    edited,
    free_port,
    gather_statuses,
    make_certificate,
    milliseconds,
    nginx_accepts,
    running_nginx,
)

PROTOCOLS = ("coderunner.v1",)
ECHO = "while True: print('heard', input())"


class TestSession:
    async def test_a_session_through_tls(self, front, address):
        async with front.session(address=address()) as client:
            await client.run(1, "print('you said', input())\nprint('x' * 300_000)", mode="tty")
            await client.input(1, b"hi\n")
            channel = await client.ended(1)
            assert channel.exit.reason == "exited"
            assert channel.text.endswith("you said hi\r\n" + "x" * 300_000 + "\r\n")

    async def test_attach_by_the_sessions_address(self, front, address):
        async with front.session(address=address()) as client:
            await client.run(1, "print('shown')\ninput()", mode="tty")
            opened = client.opened
            async with front.connect(f"ws/{opened.session}") as watcher:
                await watcher.send(m.Attach(opened.session, opened.token, watcher.client, role="watch"))
                await watcher.until(1, "shown")

    async def test_a_reload_in_mid_session_keeps_it(self, front, address):
        async with front.session(address=address()) as client:
            await client.run(1, ECHO, mode="tty")
            await client.input(1, b"one\n")
            await client.until(1, "heard one")
            old = front.reload()
            await client.input(1, b"two\n")
            await client.until(1, "heard two")
            assert old & front.workers(), "an old worker serves the socket on"
            async with front.http() as http, http.get(front.url + "api/health") as answer:
                assert answer.status == 200
        await asyncio.to_thread(wait_until, lambda: not old & front.workers(), 15, "the old workers gone")

    async def test_the_sockets_time_outs_are_far_above_the_keepalive(self, front):
        async with front.connect() as client:
            keepalive = (await client.message(m.Hello)).keepalive_s * 1000
        text = SHIPPED.read_text()
        for name in ("proxy_read_timeout", "proxy_send_timeout"):
            (value,) = re.findall(rf"^\s*{name}\s+(\S+);", text, re.M)
            assert milliseconds(value) >= 10 * keepalive
        assert not re.search(r"^\s*worker_shutdown_timeout", text, re.M)


class TestWhoComes:
    async def test_a_forged_address_does_not_count(self, front, address):
        """One session an address: the true one decides, whatever a client says about itself."""
        here = address()
        names = ("X-Forwarded-For", "X-Real-IP", "Forwarded")
        forged = dict(zip(names, ("203.0.113.7", "203.0.113.7", "for=203.0.113.7"), strict=True))
        async with front.session(address=here, headers=forged):
            again = dict(zip(names, ("198.51.100.9", "198.51.100.9", "for=198.51.100.9"), strict=True))
            async with front.connect(address=here, headers=again) as second:
                await second.send(m.Open("python", second.client))
                await second.error("too_many_sessions")
                assert await second.closed() == 4429
            async with front.session(address=address(), headers=forged) as other:
                assert other.opened is not None

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", f"https://{NAME}"])
    async def test_a_foreign_origin_is_a_403(self, front, origin):
        """The last one has our name, but another port."""
        async with front.http() as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await http.ws_connect(front.url + "ws", protocols=PROTOCOLS, headers={"Origin": origin})
        assert caught.value.status == 403

    async def test_the_own_origin_is_welcome(self, front):
        headers = {"Origin": front.url.rstrip("/")}
        async with front.connect(headers=headers) as client:
            await client.message(m.Hello)

    async def test_an_unknown_host_is_a_421(self, front):
        async with front.http() as http:
            async with http.get(front.url, headers={"Host": "evil.example"}) as answer:
                assert answer.status == 421
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await http.ws_connect(front.url + "ws", protocols=PROTOCOLS, headers={"Host": "evil.example"})
        assert caught.value.status == 421

    async def test_sockets_of_one_address_are_bounded_and_others_get_in(self, front, address):
        here = address()
        async with front.http(here) as http:
            sockets = await asyncio.gather(
                *(http.ws_connect(front.url + "ws", protocols=PROTOCOLS) for _ in range(250))
            )
            more = [http.ws_connect(front.url + "ws", protocols=PROTOCOLS) for _ in range(5)]
            assert Counter(await gather_statuses(*more)) == {429: 5}
            async with front.connect(address=address()) as other:
                await other.message(m.Hello)
            await asyncio.gather(*(one.close() for one in sockets))


class TestHttp:
    async def test_plain_http_is_sent_to_https(self, front):
        url = front.plain + "/some/where?x=1"
        async with front.http() as http, http.get(url, allow_redirects=False) as answer:
            assert answer.status == 308
            assert answer.headers["Location"] == f"https://{NAME}/some/where?x=1"

    async def test_a_forged_host_is_not_sent_elsewhere(self, front):
        async with front.http() as http:
            headers = {"Host": "evil.example"}
            async with http.get(front.plain + "/", headers=headers, allow_redirects=False) as answer:
                assert answer.headers["Location"] == f"https://{NAME}/"

    async def test_certificates_can_be_renewed_over_plain_http(self, front):
        folder = front.folder / "acme/.well-known/acme-challenge"
        folder.mkdir(parents=True)
        (folder / "token").write_text("proof")
        url = front.plain + "/.well-known/acme-challenge/token"
        async with front.http() as http, http.get(url) as answer:
            assert (answer.status, await answer.text()) == (200, "proof")

    async def test_an_oversized_body_is_refused(self, front):
        body = bytes(18 << 20)
        async with front.http() as http, http.post(front.url + "api/health", data=body) as answer:
            assert answer.status == 413

    async def test_headers_of_every_answer(self, front):
        places = {"": 200, "api/health": 200, "static/core/codec.js": 200, "nothing": 404}
        async with front.http() as http:
            for path, status in places.items():
                async with http.get(front.url + path) as answer:
                    assert answer.status == status
                    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert answer.headers["Server"] == "nginx"
                    assert len(answer.headers.getall("Cache-Control", [])) <= 1

    async def test_what_is_bundled_is_kept_and_the_rest_is_asked_for_again(self, front):
        main = next((ROOT / "static/dist/page").glob("main-*.js")).name
        async with front.http(unpack=False) as http:
            for encoding in ("br", "gzip"):
                headers = {"Accept-Encoding": encoding}
                async with http.head(front.url + f"static/dist/page/{main}", headers=headers) as answer:
                    assert "immutable" in answer.headers["Cache-Control"]
                    assert answer.headers["Content-Encoding"] == encoding
        async with front.http() as http:
            async with http.get(front.url + "static/dist/page/main-AAAAAAAA.js") as answer:
                assert answer.status == 404
                assert "immutable" not in answer.headers["Cache-Control"]
            async with http.get(front.url + "static/core/codec.js") as answer:
                assert answer.headers["Cache-Control"] == "no-cache"
                assert answer.headers["Content-Encoding"] == "gzip"
                tag = answer.headers["ETag"]
            headers = {"If-None-Match": tag}
            async with http.get(front.url + "static/core/codec.js", headers=headers) as answer:
                assert answer.status == 304
            async with http.get(front.url + "api/health") as answer:
                assert answer.headers["Cache-Control"] == "no-store"

    async def test_while_the_server_is_away(self, tmp_path):
        with running_nginx(tmp_path, f"127.0.0.1:{free_port()}") as alone:
            async with alone.http() as http, http.get(alone.url) as answer:
                assert answer.status == 503
                assert "tries again by itself" in await answer.text()
                assert "Strict-Transport-Security" in answer.headers


class TestPrefix:
    async def test_page_api_and_sessions_below_a_prefix(self, prefixed, address):
        assert prefixed.url.endswith("/code/")
        async with prefixed.http() as http:
            async with http.get(prefixed.url) as answer:
                assert answer.status == 200
                policy = answer.headers["Content-Security-Policy"]
                page = await answer.text()
                assert "default-src 'none'" in policy
            for link in re.findall(r'(?:src|href)="([^"#]+)"', page):
                assert not link.startswith(("/", "http")), f"{link} leads out of the prefix"
                async with http.get(prefixed.url + link) as answer:
                    assert answer.status == 200, link
            async with http.get(prefixed.url + "api/languages") as answer:
                assert [one["name"] for one in json.loads(await answer.read())["languages"]] == ["python"]
            async with http.get(prefixed.url.rstrip("/"), allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (301, "/code/")
        here = address()
        async with prefixed.session(address=here) as client:
            assert (await client.result(1, "print(6 * 7)")).text == "42\n"
            opened = client.opened
            async with prefixed.connect(f"ws/{opened.session}") as watcher:
                await watcher.send(m.Attach(opened.session, opened.token, watcher.client, role="watch"))
                await watcher.until(1, "42")


class TestTls:
    @pytest.mark.parametrize(
        ("version", "accepted"),
        [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
    )
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    async def test_versions(self, front, version, accepted):
        context = front.tls()
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        host, port = front.url.removeprefix("https://").rstrip("/").split(":")
        try:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", int(port), ssl=context, server_hostname=host
            )
        except (ssl.SSLError, ConnectionError):
            assert not accepted
        else:
            assert accepted
            writer.close()
            await writer.wait_closed()


class TestFile:
    def test_the_marked_part_fits_beside_other_sites(self, tmp_path: Path) -> None:
        """Into conf.d, below a main file that sets what Debian's does."""
        make_certificate(tmp_path)
        where = {"upstream": "127.0.0.1:3000", "prefix": "/", "tls": free_port(), "plain": free_port()}
        whole = edited(SHIPPED.read_text(), tmp_path, **where)
        part = re.search(r"^# --8<-- begin$.*^# --8<-- end$", whole, re.M | re.S)
        assert part
        (tmp_path / "coderunner.conf").write_text(part[0])
        main = tmp_path / "main.conf"
        main.write_text(
            f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{ worker_connections 768; }}\n"
            "http { sendfile on; tcp_nopush on; types_hash_max_size 2048; include /etc/nginx/mime.types;\n"
            "ssl_protocols TLSv1.2; ssl_prefer_server_ciphers on; gzip on;\n"
            f"access_log {tmp_path}/access.log; include {tmp_path}/coderunner.conf; }}\n"
        )
        assert "warn" not in nginx_accepts(main)

    def test_the_header_names_every_place_to_edit(self) -> None:
        text = SHIPPED.read_text()
        assert {int(one) for one in re.findall(r"# EDIT (\d)", text)} == {1, 2, 3}


async def test_nobody_else_reads_what_opens_an_artifact(front):
    async with front.http("127.7.255.1") as http:
        async with http.get(front.url + "view/some-session/SECRETLEAVE/a.html?x=1") as answer:
            assert answer.status == 404
        for path in (
            "vi%65w/s/SECRETLEAVE/x", "view/s/%53ECRETLEAVE/x", "/view//s///SECRETLEAVE/x",
            "x/../view/s/SECRETLEAVE/x", "view/s/SECRETLEAVE/a%0Ab.txt",
        ):  # fmt: skip
            async with http.get(URL(front.url + path, encoded=True)) as answer:
                assert answer.status == 404
        # What is refused stands in the error log, with the whole address; not these.
        for path in ("api/health", "view/s/SECRETLEAVE/large.html", "submissions/SECRETLEAVE"):
            async with http.put(front.url + path, data=b"x" * 70_000) as answer:
                assert answer.status == 413
        await http.get(front.plain + "/view/s/SECRETLEAVE/plain.html", allow_redirects=False)
        for path in (
            "api/runs/SECRETLEAVE", "api/batches/SECRETLEAVE/events", "?want=x&token=SECRETLEAVE",
            "api/runs/x?token=SECRETLEAVE", "view/s/x/y.html?key=SECRETLEAVE",
            "submissions/SECRETLEAVE", "submissions/SECRETLEAVE/?fields=stdout",
            "submissions/batch?tokens=SECRETLEAVE",
        ):  # fmt: skip
            for asked in (path, "favicon.ico"):
                async with http.get(front.url + asked, headers={"Referer": front.url + path}) as answer:
                    assert answer.status in (200, 404)
        await http.get(front.url + "api/health", headers={"Referer": front.url + "view/s/SECRETLEAVE/b.html"})
    log, errors = front.folder / "coderunner.log", front.folder / "error.log"
    await eventually(lambda: "b.html" in log.read_text(), 5, "the log")
    text = log.read_text()
    assert "too large body" in errors.read_text()
    for one in front.folder.glob("*.log"):
        assert "ECRETLEAVE" not in one.read_text(), one
    assert "view/some-session/***/a.html" in text
    assert "/view/s/***/plain.html" in text


async def test_a_request_has_one_name_in_both_logs(front, production):
    async with front.http("127.7.255.2") as http:
        async with http.get(front.url + "api/sessions/namedsession/files") as answer:
            assert answer.status == 404
    log = front.folder / "coderunner.log"
    await eventually(lambda: "namedsession" in log.read_text(), 5, "the log")
    line = next(one for one in log.read_text().splitlines() if "namedsession" in one)
    assert re.search(rf"namedsession.*{line.split()[-1]}", production.log.read_text())


async def test_a_body_is_small_where_no_file_is_sent(front):
    async with front.http("127.7.255.3") as http:
        for path, size, status in (
            ("api/health", 70_000, 413), ("api/sessions/x/files", 70_000, 413), ("nowhere", 70_000, 413),
            ("api/sessions/x/files/y", 70_000, 404), ("api/sessions/x/archive", 70_000, 404),
            # Of the facades, which this server does not have: what has a program or a file reaches it.
            ("submissions", 70_000, 404), ("submissions/batch", 70_000, 404), ("submissions/x", 70_000, 413),
            ("api/v2/execute", 70_000, 404), ("api/v2/piston/execute/", 70_000, 404),
            ("mcp", 70_000, 404), ("jobe/index.php/restapi/files/x", 70_000, 404),
            ("api/v2/runtimes", 70_000, 413),
        ):  # fmt: skip
            async with http.put(front.url + path, data=b"x" * size) as answer:
                assert answer.status == status, path


async def test_a_program_over_http_with_its_files_and_as_it_happens(front):
    program = "import time\nprint('up', flush=True)\ntime.sleep(2)\n" + "#" * 200_000
    wanted = {"language": "python", "source": program}
    place = None
    async with front.http("127.7.255.5") as http:
        headers = {"Accept": "text/event-stream", "Idempotency-Key": str(uuid.uuid4())}
        async with http.post(front.url + "api/run", json=wanted, headers=headers) as answer:
            assert answer.status == 200
            place = answer.headers["Location"].rpartition("/")[2]
            seen = b""
            async for line in answer.content:
                seen += line
                if b'"up' in line:
                    break
            assert b"event: exit" not in seen
        async with http.get(front.url + f"api/runs/{place}?wait=20") as answer:
            assert (await answer.json())["stdout"] == "up\n"
        async with http.put(front.url + f"api/runs/{place}", data=b"x" * 70_000) as answer:
            assert answer.status == 413
        async with http.get(front.url + f"api/batches/{place}") as answer:
            assert answer.status == 404
    log = front.folder / "coderunner.log"
    await eventually(lambda: "api/runs/***" in log.read_text(), 5, "the log")
    await eventually(lambda: "api/batches/***" in log.read_text(), 5, "the log")
    for one in front.folder.glob("*.log"):
        assert place not in one.read_text(), one


async def test_no_answer_names_the_version(front):
    async with front.http() as http:
        for url in (front.plain, front.plain + "/.well-known/acme-challenge/none"):
            async with http.get(url, allow_redirects=False) as answer:
                assert answer.headers["Server"] == "nginx"
                assert "nginx/" not in await answer.text()


async def test_what_tools_note_for_themselves_is_not_public(front):
    async with front.http("127.7.255.4") as http, http.get(front.url + "static/dist/.made") as answer:
        assert answer.status == 404


async def test_names_of_loopback_are_for_this_machine(front, production):
    for host in ("localhost", "[::1]:3000"):
        request = urllib.request.Request(production.url + "api/queue-stats", headers={"Host": host})
        assert (await asyncio.to_thread(urllib.request.urlopen, request, timeout=10)).status == 200
        async with front.http("127.7.255.5") as http:
            async with http.get(front.url + "api/queue-stats", headers={"Host": host}) as answer:
                assert answer.status == 421, host
