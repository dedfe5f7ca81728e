"""The workspace over HTTP, with a hostile program in it."""

from __future__ import annotations

import asyncio
import io
import secrets
import tarfile
import zipfile

import pytest

from coderunner.client.rest import Rest
from coderunner.schema import messages as m
from tests.core.test_archives import a_tar, a_zip
from tests.harness import attach, running_server, session, start_server, wait_ready

BIG = bytes(range(256)) * 3000  # several pieces


async def test_what_is_written_is_read_listed_and_run(server):
    async with session(server) as client:
        rest = Rest(server.url, client.opened)
        assert (await rest("PUT", "/files/main.py", b"print(open('data/in').read())")).code == "200"
        assert (await rest("PUT", "/files/data/in", BIG)).document["size"] == len(BIG)
        assert (await rest("PUT", "/files/data/in", b"fresh")).code == "200"
        assert (await rest("GET", "/files/data/in")).body == b"fresh"
        listed = (await rest("GET", "/files")).document
        assert [(one["path"], one["size"], one["folder"]) for one in listed["files"]] == [
            ("data", 0, True), ("data/in", 5, False), ("main.py", 29, False),
        ]  # fmt: skip
        assert listed["complete"]
        await client.send(m.Run(1, "pipe"))
        assert (await client.ended(1)).text == "fresh\n"


async def test_parts_of_a_file(server):
    async with session(server) as client:
        rest = Rest(server.url, client.opened)
        await rest("PUT", "/files/big", BIG)
        whole = await rest("GET", "/files/big")
        assert whole.body == BIG
        assert whole.headers["X-Content-Type-Options"] == "nosniff"
        assert whole.headers["Cache-Control"] == "no-store"
        for wish, begin, end in (
            ("bytes=0-0", 0, 1), ("bytes=59990-180010", 59990, 180011), ("bytes=700000-", 700000, len(BIG)),
            ("bytes=-10", len(BIG) - 10, len(BIG)),
        ):  # fmt: skip
            part = await rest("GET", "/files/big", Range=wish)
            assert (part.status, part.body) == (206, BIG[begin:end])
            assert part.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(BIG)}"
        assert (await rest("GET", "/files/big", Range="bytes=9000000-")).status == 416
        head = await rest("HEAD", "/files/big")
        assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(BIG)), b"")


async def test_renaming_deleting_and_folders(server):
    async with session(server) as client:
        rest = Rest(server.url, client.opened)
        await rest("PUT", "/files/a/b/c", b"1")
        await rest("PUT", "/files/d", b"2")
        assert (await rest("PATCH", "/files/a/b", document={"path": "x/y"})).code == "200"
        assert (await rest("PATCH", "/files/d", document={"path": "x/y/c"})).code == "409 file_exists"
        assert (await rest("PATCH", "/files/x", document={"path": "x/y/z"})).code == "400 bad_path"
        assert (await rest("POST", "/files/new/folder", document={"folder": True})).code == "201"
        assert await rest.paths() == ["a", "d", "new", "new/folder", "x", "x/y", "x/y/c"]
        assert (await rest("DELETE", "/files/x")).document == {"removed": 3}
        assert (await rest("DELETE", "/files/x")).code == "404 no_file"
        assert (await rest("GET", "/files/a")).code == "400 bad_path"
        assert (await rest("GET", "/files/nothing")).code == "404 no_file"
        assert await rest.paths() == ["a", "d", "new", "new/folder"]


async def test_a_wrong_session_or_token_is_always_the_same(server):
    async with session(server) as client:
        rest = Rest(server.url, client.opened)
        await rest("PUT", "/files/a", b"mine")
        stranger = Rest(server.url, client.opened)
        stranger.token = "x" * 32
        nowhere = Rest(server.url, client.opened)
        nowhere.session = nowhere.session[:-3] + "abc"
        nothing = Rest(server.url, client.opened)
        nothing.token = ""
        answers = set()
        for asker in (stranger, nowhere, nothing):
            for method, path, body in (
                ("GET", "/files", None), ("GET", "/files/a", None), ("GET", "/files/b", None),
                ("PUT", "/files/a", b"theirs"), ("DELETE", "/files/a", None), ("GET", "/archive", None),
                ("PATCH", "/files/a", b"{}"), ("POST", "/files/a", b"{}"), ("PUT", "/archive", b"no zip"),
            ):  # fmt: skip
                answer = await asker(method, path, body)
                answers.add((answer.status, answer.body))
        assert len(answers) == 1
        assert next(iter(answers))[0] == 404
        assert (await rest("GET", "/files/a")).body == b"mine"


async def test_bounds_and_bad_requests_are_told(server):
    async with session(server) as client:
        rest = Rest(server.url, client.opened)
        assert (await rest("PUT", "/files/big", bytes(1 << 20))).code == "200"
        assert (await rest("PUT", "/files/big", bytes((16 << 20) + 1))).code == "413 file_too_large"
        assert (await rest("PUT", "/files/..%2Fx", b"")).code == "400 bad_path"
        assert (await rest("PUT", "/files/a%00b", b"")).code == "400 bad_path"
        assert (await rest("PATCH", "/files/big", b"[]")).code == "400 bad_message"
        assert (await rest("PATCH", "/files/big", b"{")).code == "400 bad_message"
        assert (await rest("PATCH", "/files/big", document={"path": "../x"})).code == "400 bad_path"
        assert (await rest("POST", "/files/f", document={})).code == "400 bad_message"
        assert (await rest("GET", "/archive?format=rar")).code == "400 bad_message"
        assert (await rest("PUT", "/archive?into=../x", a_zip())).code == "400 bad_path"
        assert await rest.paths() == ["big"]


async def test_a_file_of_several_megabytes_comes_by_itself_or_in_an_archive(server):
    """Such as a library's; the bound of messages is another one."""
    large = secrets.token_bytes(3 << 20)
    async with session(server) as client:
        rest = Rest(server.url, client.opened)
        assert (await rest("PUT", "/files/lib/one.jar", large)).code == "200"
        assert (await rest("PUT", "/archive", a_zip({"lib/two.jar": large}))).code == "200"
        code = "print([open(f'lib/{name}.jar', 'rb').read().__len__() for name in ('one', 'two')])"
        assert (await client.result(1, code)).text == f"[{3 << 20}, {3 << 20}]\n"
        assert server.get("api/languages")["limits"] == {"file_bytes": 16 << 20}


async def test_a_full_workspace_is_told_and_keeps_the_old_file(server):
    fill = "f=open('fill','wb',0)\ntry:\n  while True: f.write(bytes(65536))\nexcept OSError: print('full')"
    async with session(server) as client:
        rest = Rest(server.url, client.opened)
        await rest("PUT", "/files/kept", b"old")
        assert (await client.result(1, fill)).text == "full\n"
        assert (await rest("PUT", "/files/kept", bytes(500_000))).code == "507 workspace_full"
        assert (await rest("GET", "/files/kept")).body == b"old"
        assert (await rest("DELETE", "/files/fill")).code == "200"
        assert (await rest("PUT", "/files/kept", bytes(500_000))).code == "200"


class TestArchives:
    @pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
    async def test_out_and_in_again(self, server, kind):
        code = (
            "import os\nos.makedirs('a/b'); os.mkdir('none')\n"
            "open('a/b/ü.bin','wb').write(bytes(range(256))*900)\n"
            "open('run.sh','w').write('#!/bin/sh\\necho ran'); os.chmod('run.sh', 0o755)\n"
            "os.symlink('/etc/passwd','link'); os.mkfifo('pipe'); open('bad\\nname','w'); open('empty','w')"
        )
        async with session(server) as client:
            rest = Rest(server.url, client.opened)
            await client.result(1, code)
            answer = await rest("GET", f"/archive?format={kind}")
            assert f'filename="python-project.{kind}"' in answer.headers["Content-Disposition"]
            if kind == "zip":
                with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
                    assert archive.testzip() is None
                    names = [name.rstrip("/") for name in archive.namelist()]
            else:
                with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
                    names = archive.getnames()
            assert names == ["a", "a/b", "a/b/ü.bin", "empty", "main.py", "none", "run.sh"]
        async with session(server) as client:
            rest = Rest(server.url, client.opened)
            done = (await rest("PUT", "/archive?into=sub", answer.body)).document
            assert done["written"] == ["sub/a/b/ü.bin", "sub/empty", "sub/main.py", "sub/run.sh"]
            assert done["left_out"] == []
            assert await rest.paths() == ["sub", *(f"sub/{name}" for name in names)]
            assert (await rest("GET", "/files/sub/a/b/ü.bin")).body == bytes(range(256)) * 900
            ran = await client.result(1, "import subprocess; subprocess.run(['sub/run.sh'])")
            assert ran.text == "ran\n"

    async def test_a_bad_one_writes_nothing(self, server):
        async with session(server) as client:
            rest = Rest(server.url, client.opened)
            for body, code in (
                (b"", "400 bad_archive"),
                (b"neither", "400 bad_archive"),
                (a_zip({"good": b"1", "../x": b"2"}), "400 bad_path"),
                (a_tar({"good": b"1", "/etc/x": b"2"}), "400 bad_path"),
                (a_tar({"good": b"1", "a": b"", "a/b": b""}), "400 bad_path"),
                (a_zip({"good": b"1", "big": bytes(17 << 20)}), "413 file_too_large"),
                (a_zip({f"f{number}": b"" for number in range(257)}), "413 too_many_files"),
                (a_tar({f"f{n}": bytes(1 << 20) for n in range(70)}, mode="w:gz"), "400 bad_archive"),
                (a_zip({"good": b"1"})[:-30], "400 bad_archive"),
                (bytes(17 << 20), "413 file_too_large"),
            ):
                assert (await rest("PUT", "/archive", body)).code == code
            assert await rest.paths() == []

    async def test_what_was_written_is_told_when_the_room_ends(self, server):
        files = {f"f{number:02}": bytes([number]) * (1 << 20) for number in range(12)}
        fill = "open('fill','wb').write(bytes(57<<20))"
        async with session(server) as client:
            rest = Rest(server.url, client.opened)
            await client.result(1, fill)
            answer = await rest("PUT", "/archive", a_tar(files))
            assert answer.code == "507 workspace_full"
            written = answer.document["written"]
            assert 3 < len(written) < 8
            assert await rest.paths() == sorted([*written, "fill", "main.py"])
            for name in written:
                assert (await rest("GET", f"/files/{name}")).body == files[name]


@pytest.mark.long
async def test_files_go_on_while_programs_flood_and_after_a_restart(tmp_path):
    with running_server(tmp_path) as server:
        async with session(server, keep=True) as client:
            rest = Rest(server.url, client.opened)
            await client.run(1, "import os\nprint('up', flush=True)\nwhile True: os.write(1, bytes(4096))")
            await client.until(1, "up")
            await rest("PUT", "/files/a", BIG)
            assert (await rest("GET", "/files/a")).body == BIG
            opened = client.opened
        server.process.kill()
        server.process.wait()
        again = start_server({**server.environment}, server.log)
        server.process, server.url = again.process, again.url
        wait_ready(server, ("python",))
        rest = Rest(server.url, opened)
        assert (await rest("GET", "/files/a")).body == BIG
        assert (await rest("DELETE", "/files/a")).code == "200"
        assert await rest.paths() == ["main.py"]
        async with attach(server, opened) as client:
            await client.message(m.Attached)
            await client.send(m.Close())
            await client.closed()


async def test_a_thousand_files_are_listed_and_deleted_beside_a_keystroke(server):
    code = (
        "import os,tty\nos.mkdir('many')\nfor n in range(4000): open(f'many/{n:04}','w').close()\n"
        "tty.setraw(0)\nos.write(1,b'!')\nwhile True: os.write(1,os.read(0,100))"
    )
    async with session(server) as client:
        rest = Rest(server.url, client.opened)
        await client.run(1, code, mode="tty")
        await client.until(1, "!")

        async def echoes() -> int:
            count = 0
            while not work.done():
                before = client.channel(1).end
                await client.input(1, b"k")
                await client.wait(lambda before=before: client.channel(1).end > before)
                count += 1
            return count

        work = asyncio.create_task(rest("GET", "/files"))
        assert await echoes() > 2  # one call for all of them would hold the agent until its end
        assert len((await work).document["files"]) == 4002
        work = asyncio.create_task(rest("DELETE", "/files/many"))
        assert await echoes() > 2
        assert (await work).document == {"removed": 4001}


class TestStandardInput:
    @pytest.mark.parametrize("mode", ["pipe", "tty"])
    async def test_a_file_is_the_programs_input(self, server, mode):
        code = (
            "import sys\nprint(sys.stdin.isatty(), sys.stdout.isatty())\n"
            "print(sum(int(line) for line in sys.stdin))"
        )
        numbers = "".join(f"{number}\n" for number in range(5000)).encode()
        async with session(server) as client:
            files = (m.File("main.py", code.encode()), m.File("data/in.txt", numbers))
            await client.send(m.Run(1, mode, files=files, stdin="data/in.txt"))
            channel = await client.ended(1)
            assert channel.text.replace("\r", "") == f"False {mode == 'tty'}\n{sum(range(5000))}\n"

    async def test_on_a_terminal_ctrl_c_still_comes_from_the_keyboard(self, server):
        code = "import sys\nprint(sys.stdin.read(), flush=True)\nwhile True: pass"
        async with session(server) as client:
            files = (m.File("main.py", code.encode()), m.File("in", b"given"))
            await client.send(m.Run(1, "tty", files=files, stdin="in"))
            await client.until(1, "given")
            await client.input(1, b"\x03")
            assert "KeyboardInterrupt" in (await client.ended(1, 5)).text

    async def test_a_compiler_does_not_read_it(self, server):
        code = b'#include <stdio.h>\nint main(){char b[9]={0};scanf("%8s",b);puts(b);}'
        async with session(server, "c") as client:
            files = (m.File("main.c", code), m.File("in", b"hello"))
            await client.send(m.Run(1, "pipe", files=files, stdin="in"))
            assert (await client.ended(1)).text == "hello\n"

    async def test_one_that_is_missing_or_leads_out_is_told(self, server):
        async with session(server) as client:
            await client.result(1, "import os; os.symlink('/etc/passwd','link'); os.mkdir('d')")
            for stdin, code in (
                ("no", "no_file"), ("link", "bad_path"), ("d", "bad_path"), ("../x", "bad_path")
            ):  # fmt: skip
                await client.send(m.Run(2, "pipe", stdin=stdin))
                error = await client.error(code)
                assert error.channel == 2 or stdin == "../x"
            assert (await client.result(2, "print('still here')")).text == "still here\n"
