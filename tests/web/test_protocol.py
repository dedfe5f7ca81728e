"""The protocol's edge cases: handshake, invalid frames, hostile clients. The server continues through all of
them."""

from __future__ import annotations

import asyncio
import base64
import socket
import struct

import aiohttp
import pytest

from coderunner.core import codec
from coderunner.schema import messages as m
from tests.harness import connect, eventually, random_id, send_bytes, session


async def refused(server, status: int, **fields) -> None:
    fields.setdefault("protocols", ("coderunner.v1",))
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(server.url + fields.pop("path", "ws"), **fields)
        assert caught.value.status == status


class TestHandshake:
    async def test_the_server_speaks_first_and_echoes_only_its_protocol(self, server):
        bearer = "coderunner.bearer." + base64.urlsafe_b64encode(b"nobody").decode().rstrip("=")
        async with connect(server.url, protocols=("coderunner.v1", bearer)) as client:
            assert client.socket.protocol == "coderunner.v1"
            hello = await client.message(m.Hello)
            assert hello.limits["window_bytes"] == 262_144
            await client.error("unauthenticated")
            assert await client.closed() == 4401

    async def test_who_leaves_while_opening_begins_is_no_fault(self, server):
        for _ in range(20):
            async with connect(server.url) as client:
                await client.message(m.Hello)
                await asyncio.gather(client.send(m.Open("python", client.client)), client.send(m.Close()))
                assert await client.closed() == 1000
        assert "a fault of this server" not in server.log.read_text()

    async def test_without_the_protocol_it_is_a_400(self, server):
        await refused(server, 400, protocols=("chat",))
        await refused(server, 400, protocols=())

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
    async def test_a_foreign_origin_is_a_403(self, server, origin):
        await refused(server, 403, headers={"Origin": origin})

    async def test_the_own_origin_is_welcome(self, server):
        async with connect(server.url, headers={"Origin": server.url.rstrip("/")}) as client:
            await client.message(m.Hello)

    async def test_a_foreign_host_is_a_421(self, server):
        await refused(server, 421, headers={"Host": "evil.example"})

    async def test_open_must_come_first(self, server):
        async with connect(server.url) as client:
            await client.send(m.Kill(1))
            await client.error("unexpected_message")
            await client.input(1, b"x", offset=0)
            await client.error("unexpected_message")
            await client.send(m.Ping(7))
            assert (await client.message(m.Pong)).t == 7

    async def test_a_pipelined_run_with_input_works(self, server):
        async with connect(server.url) as client:
            await client.send(m.Open("python", client.client))
            await client.run(1, "print(input())")
            await client.input(1, b"early\n")
            assert (await client.ended(1)).text == "early\n"
            await client.send(m.Close())
            assert await client.closed() == 1000

    async def test_the_same_nonce_is_the_same_session(self, server):
        nonce = random_id()
        async with connect(server.url) as client:
            await client.send(m.Open("python", client.client, nonce=nonce))
            await client.wait(lambda: client.opened)
            client.drop()
            await client.closed()
        async with connect(server.url, client=client.client) as again:
            await again.send(m.Open("python", again.client, nonce=nonce))
            await again.wait(lambda: again.opened)
            assert again.opened.session == client.opened.session
            await again.send(m.Close())
            await again.closed()


class TestWrongFrames:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("{", "bad_json"),
            ("[]", "bad_json"),
            ('{"type": NaN}', "bad_json"),
            ("[" * 5000, "bad_json"),
            ('{"type": "frobnicate"}', "unknown_type"),
            ('{"type": "resize", "channel": 1, "cols": "wide", "rows": 1}', "bad_message"),
            ('{"type": "run", "channel": 99999, "mode": "tty"}', "bad_message"),
            ('{"type": "run", "channel": 5, "mode": "sideways"}', "bad_message"),
            (
                '{"type": "run", "channel": 5, "mode": "tty", "files": [{"path": "\\ud800", "content": ""}]}',
                "bad_json",
            ),
            (
                '{"type": "run", "channel": 5, "mode": "tty", "files": [{"path": "../x", "content": ""}]}',
                "bad_path",
            ),
            ('{"type": "run", "channel": 5, "mode": "tty", "entry": "/etc/passwd"}', "bad_path"),
            ('{"type": "run", "channel": 5, "mode": "tty", "limits": {"wall_ms": 999999999}}', "bad_limit"),
            ('{"type": "run", "channel": 5, "mode": "tty", "limits": {"luck": 1}}', "bad_limit"),
            ('{"type": "kill", "channel": 77}', "no_channel"),
            ('{"type": "ack", "channel": 77, "offset": 1}', "no_channel"),
            ('{"type": "open", "language": "python", "client": "abcdefghijklmnopqrstuv"}', "bad_message"),
        ],
    )
    async def test_a_wrong_message_is_answered_and_the_session_lives_on(self, server, text, code):
        async with session(server) as client:
            await client.send_raw(text)
            error = await client.error(code)
            if '"type": "run", "channel": 5' in text and code != "bad_json":
                assert error.channel == 5, "whoever asked for several runs knows which one was refused"
            assert (await client.result(1, "print('alive')")).text == "alive\n"

    async def test_wrong_binary_frames(self, server):
        async with session(server) as client:
            for data in (b"", b"\x02", b"\x01\x00" + bytes(10) + b"x", b"\x02\x07" + bytes(10) + b"x"):
                await client.socket.send_bytes(data)
                await client.error("bad_frame")
            await client.socket.send_bytes(codec.encode_input(9, 0, b"x"))
            await client.error("no_channel")
            assert (await client.result(1, "print('alive')")).text == "alive\n"

    async def test_an_ack_of_what_was_never_sent_is_ignored(self, server):
        async with session(server) as client:
            await client.result(1, "print('x')")
            await client.send(m.Ack(1, 10_000_000))
            await client.error("ack_ahead")

    async def test_a_frame_too_large_closes_with_1009(self, server):
        async with session(server, keep=True) as client:
            # Only its beginning: a peer that still writes when the other side closes may miss the code.
            send_bytes(client, struct.pack(">BBQ", 0x81, 0xFF, 9 << 20) + bytes(4) + b"x" * 100)
            assert await client.closed() == 1009

    async def test_invalid_utf8_closes_the_socket_not_the_server(self, server):
        async with session(server, keep=True) as client:
            await client.socket.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
            assert await client.closed() in (1007, 1006)
        async with session(server) as client:
            assert (await client.result(1, "print('alive')")).text == "alive\n"

    async def test_unknown_languages_and_files(self, server):
        async with connect(server.url) as client:
            await client.send(m.Open("klingon", client.client))
            error = await client.error("unknown_language")
            assert "python" in error.message
            many = tuple(m.File(f"f{i}", b"") for i in range(300))
            await client.send(m.Open("python", client.client, files=many))
            await client.error("too_many_files")
            await client.send(m.Open("python", client.client, files=(m.File("../a", b"x"),)))
            await client.error("bad_path")
            await client.send(m.Open("python", client.client, files=(m.File("a", b""), m.File("a/b", b""))))
            await client.error("bad_path")
            await client.send(m.Open("python", client.client, record=True))
            await client.error("unsupported")
            await client.send(m.Open("python", client.client, files=(m.File("d/a", b"here"),)))
            await client.wait(lambda: client.opened)
            assert (await client.result(1, "print(open('d/a').read())")).text == "here\n"
            await client.send(m.Close())
            await client.closed()

    async def test_a_flood_of_frames_is_cut(self, server):
        async with session(server, keep=True) as client:
            # Pings in one write, as they count most: a busy server is too slow for other frames to exceed the
            # limit.
            ping = bytes([0x89, 0x80, 0, 0, 0, 0])
            client.socket._response.connection.transport.write(ping * 40_000)  # noqa: SLF001
            assert await client.closed() in (4429, 1006, 1011)
        async with session(server) as client:
            assert (await client.result(1, "print('alive')")).text == "alive\n"


class TestHostileFiles:
    async def test_a_planted_link_does_not_lead_an_upload_out(self, server):
        async with session(server) as client:
            await client.result(1, "import os\nos.symlink('/tmp', 'out')\nos.symlink('/tmp/x', 'link')")
            await client.send(m.Run(2, "pipe", files=(m.File("out/x", b"stolen"),), entry="main.py"))
            error = await client.error("bad_path")
            assert error.channel == 2
            await client.send(
                m.Run(2, "pipe", files=(m.File("link", b"safe"), m.File("main.py", b"print(1)")))
            )
            assert (await client.ended(2)).text == "1\n"
            code = "import os\nprint(os.path.islink('link'), open('link').read(), os.listdir('/tmp'))"
            assert (await client.result(3, code)).text == "False safe []\n"

    async def test_a_full_workspace_is_told(self, server):
        async with session(server) as client:
            code = "f=open('big','wb')\ntry:\n    while True: f.write(b'x'*65536)\nexcept OSError: pass"
            assert (await client.result(1, code)).exit.limits_hit == ("disk",)
            await client.send(m.Run(2, "pipe", files=(m.File("main.py", b"print(1)" * 50_000),)))
            assert "room" in (await client.error("workspace_full")).message


class TestLimitsOfASession:
    async def test_eight_live_channels_and_no_more(self, server):
        async with session(server) as client:
            for number in range(1, 9):
                await client.run(number, "import time; time.sleep(60)")
            await client.run(9, "print(1)")
            assert (await client.error("channel_limit")).channel == 9
            for number in range(1, 9):
                await client.send(m.Kill(number))
            for number in range(1, 9):
                assert (await client.ended(number)).exit.reason == "killed"

    async def test_a_number_is_used_once(self, server):
        async with session(server) as client:
            for number in range(1, 45):
                await client.result(number, "pass")
            await client.run(1, "print('again')")
            await client.error("channel_used")

    async def test_a_thousand_resizes_a_second(self, server):
        async with session(server) as client:
            await client.run(1, "input()\nimport os; print(os.get_terminal_size())", mode="tty")
            for number in range(1000):
                await client.send(m.Resize(1, 20 + number % 50, 10))
            await client.send(m.Resize(1, 10**9, 1))
            await client.input(1, b"\n")
            assert "columns=1000, lines=2" in (await client.ended(1)).text


class TestWatchfulness:
    async def test_a_half_open_handshake_holds_nothing(self, server):
        host, port = server.url.split("/")[2].split(":")
        sockets = []
        for _ in range(200):
            one = socket.create_connection((host, int(port)))
            one.sendall(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            sockets.append(one)
        async with session(server) as client:
            assert (await client.result(1, "print('alive')")).text == "alive\n"
        for one in sockets:
            one.close()

    async def test_nothing_said_is_closed_in_time(self, server):
        async with connect(server.url) as client:
            await client.error("no_first_message", 15)
            assert await client.closed() == 4408

    async def test_health_ready_and_stats(self, server):
        assert server.get("api/health")["status"] == "ok"
        ready = server.get("api/ready")
        assert ready["ready"] is True
        assert ready["reasons"] == []
        assert ready["confinement"] in ("apparmor", "selinux", "none")
        stats = server.stats()
        assert set(stats["workerPool"]) == {
            "totalWorkers", "activeWorkers", "idleWorkers", "queuedTasks", "completedTasks", "failedTasks",
            "averageTaskTime",
        }  # fmt: skip
        async with session(server):
            held = server.stats()["queue"]["active"]
            assert held >= 1
        # Sessions of other tests may be given up meanwhile.
        await eventually(lambda: server.stats()["queue"]["active"] < held, 10, "slot back")
