"""Compile errors and tracebacks become problems with a place, before the program's end."""

from __future__ import annotations

import pytest

from coderunner.client.rest import Rest
from coderunner.schema import messages as m
from tests.harness import attach, running_server, session, start_server, wait_ready


def problems(client) -> list[tuple[str, int, str]]:
    found = [one for one in client.messages if isinstance(one, m.Diagnostics)]
    items = found[-1].items if found else ()
    return [(item.path, item.line, item.severity) for item in items if item.severity != "info"]


def before_the_end(client, channel: int) -> bool:
    messages = client.messages
    told = next(index for index, one in enumerate(messages) if isinstance(one, m.Diagnostics))
    return told < messages.index(client.channel(channel).exit)


CASES = [
    ("python", "main.py", "def f():\n    return 1 / 0\nf()", ("main.py", 2, "error"), "ZeroDivisionError: "),
    ("python", "main.py", "x = (", ("main.py", 1, "error"), "SyntaxError: '(' was never closed"),
    ("javascript", "main.js", "let a = 1;\nfoo();", ("main.js", 2, "error"), "ReferenceError: foo is not "),
    ("c", "main.c", "int main() {\n  return x;\n}", ("main.c", 2, "error"), "undeclared"),
    ("cpp", "main.cpp", "int main() {\n  return x;\n}", ("main.cpp", 2, "error"), "was not declared"),
    ("bash", "main.sh", "\nnope\nexit 3", ("main.sh", 2, "error"), "nope: command not found"),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["pipe", "tty"])
@pytest.mark.parametrize(("language", "entry", "code", "wanted", "message"), CASES)
async def test_each_language_says_where(server, mode, language, entry, code, wanted, message):
    async with session(server, language) as client:
        await client.result(1, code, mode=mode, entry=entry)
        assert problems(client) == [wanted]
        item = (await client.message(m.Diagnostics)).items[0]
        assert message in item.message
        await client.result(2, code, mode=mode, entry=entry)
        assert before_the_end(client, 2)


async def test_a_warning_is_told_while_the_program_runs(server):
    code = '#warning "careful"\n#include <stdio.h>\nint main(){ getchar(); }'
    async with session(server, "c") as client:
        await client.run(1, code, entry="main.c")
        await client.wait(lambda: problems(client) == [("main.c", 1, "warning")], 20, "the warning")
        assert client.channel(1).exit is None
        await client.input(1, b"\n")
        assert (await client.ended(1)).exit.code == 0


async def test_what_ends_well_or_by_us_has_no_problems(server):
    said = '  File "/workspace/main.py", line 1, in x\nValueError: no'
    code = f"import sys\nprint({said!r}, file=sys.stderr)"
    async with session(server) as client:
        assert (await client.result(1, code)).exit.code == 0
        await client.run(2, code + "\nsys.stderr.flush()\nwhile True: pass")
        await client.until(2, "ValueError")
        await client.send(m.Kill(2))
        assert (await client.ended(2)).exit.reason == "killed"
        # On pipes, what is printed to standard output is no complaint.
        assert (await client.result(3, code.replace("stderr", "stdout") + "\nsys.exit(1)")).exit.code == 1
        assert problems(client) == []


async def test_the_last_lines_of_a_flood_count_for_a_client_that_reads_slowly(server):
    code = "import sys\nfor _ in range(60_000): print('x' * 9, file=sys.stderr)\nraise ValueError('last')"
    async with session(server) as client:
        client.acks = False
        await client.run(1, code)
        channel = client.channel(1)
        await client.wait(lambda: channel.end == 256 * 1024, 15, "a full window")
        client.acks = True
        await client.send(m.Ack(1, channel.end))
        await client.ended(1)
        assert problems(client) == [("main.py", 3, "error")]
        assert before_the_end(client, 1)


async def test_a_session_is_told_over_http(server):
    code = "open('a.png', 'w').write('x')\nimport sys\n1 / 0"
    async with session(server) as client:
        rest = Rest(server.url, client.opened)
        await client.result(7, code)
        await client.send(m.Shell(9, 80, 24))
        await client.wait(lambda: client.channel(9).states)
        told = (await rest("GET")).document
        assert (told["session"], told["language"]) == (client.opened.session, "python")
        assert told["expires"]["total_ms"] > 0
        assert told["revision"] > 0
        ran, shell = told["channels"]
        assert (ran["channel"], ran["kind"], ran["mode"], ran["phase"]) == (7, "run", "pipe", "exited")
        assert (ran["exit"]["reason"], ran["exit"]["code"]) == ("exited", 1)
        assert ran["diagnostics"] == [
            {"path": "main.py", "line": 3, "column": 0, "severity": "error",
             "message": "ZeroDivisionError: division by zero"}
        ]  # fmt: skip
        (made,) = ran["artifacts"]
        assert (made["path"], made["mime"], made["size"]) == ("a.png", "image/png", 1)
        assert (shell["kind"], shell["phase"], shell["exit"]) == ("shell", "running", None)
        rest.token = "x" * 32
        assert (await rest("GET")).code == "404 no_session"


async def test_a_new_page_is_told_also_after_a_restart_of_the_server(tmp_path):
    with running_server(tmp_path, LANGUAGES="python,c", ready=("python", "c")) as server:
        async with session(server, keep=True) as client, session(server, "c", keep=True) as other:
            await client.result(1, "print('x' * 300_000)\n1 / 0")
            await other.result(1, "int main() { return x; }", entry="main.c")
            assert problems(client) == [("main.py", 2, "error")]
            async with attach(server, client.opened, role="watch") as page:
                await page.wait(lambda: problems(page) == problems(client))
        server.process.kill()
        server.process.wait()
        again = start_server({**server.environment}, server.log)
        server.process, server.url = again.process, again.url
        wait_ready(server, ("python",))
        for before in (client, other):
            async with attach(server, before.opened) as page:
                wanted = problems(before)
                await page.wait(lambda page=page, wanted=wanted: problems(page) == wanted, 10, "problems")
                await page.send(m.Close())
                await page.closed()


@pytest.mark.parametrize("mode", ["pipe", "tty"])
async def test_what_a_program_wanted_that_is_not_here_is_told_with_its_end(server, mode):
    code = "import socket\nsocket.getaddrinfo('example.com', 80)"
    async with session(server) as client:
        end = (await client.result(1, code, mode=mode)).exit
        assert end.code == 1
        assert [hint for hint in end.hints if "no network" in hint] == list(end.hints) != []
        assert (await client.result(2, "print('hello')", mode=mode)).exit.hints == ()


async def test_a_file_is_found_in_its_folder(server):
    """The compiler was given another path to it."""
    files = (m.File("lib/part.h", b"int f( {\n"),)
    async with session(server, "c", files=files) as client:
        await client.send(m.Run(1, "pipe", (m.File("main.c", b'#include "lib/../lib/part.h"\n'),), "main.c"))
        await client.ended(1)
        assert ("lib/part.h", 1, "error") in problems(client)
