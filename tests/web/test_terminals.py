"""Terminals and pipes from a program's view: editing of lines, and states that an earlier program left
behind."""

from __future__ import annotations

import pytest

from coderunner.schema import messages as m
from tests.harness import attach, session
from tests.share import some_now

LEAVE = """import ctypes, fcntl, os, termios
for number in range(3):
    fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_NONBLOCK | os.O_APPEND)
if os.isatty(0):
    import tty
    tty.setraw(0)
    fcntl.ioctl(0, termios.TIOCSWINSZ, b"\\1\\0\\2\\0\\0\\0\\0\\0")
    fcntl.ioctl(0, termios.TIOCEXCL)
    termios.tcflow(1, termios.TCOOFF)
"""
MAKEFILE = "prog: main.c leave.py\n\tgcc -o prog main.c\n\tpython3 leave.py\n"
BIG = """#include <stdio.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
int main(void) {
    static char line[1000];
    struct winsize size = {0};
    ioctl(0, TIOCGWINSZ, &size);
    printf("%d %d\\n", size.ws_row, isatty(0) ? open("/dev/tty", O_RDWR) > 0 : 1);
    for (int i = 0; i < (1 << 20) / 50; i++)
        if (puts("0123456789012345678901234567890123456789012345678") < 0) return 2;
    puts(fgets(line, sizeof line, stdin) ? line : "nothing");
    return 0;
}
"""


class TestBackspace:
    @pytest.mark.parametrize("erased", ["ä", "漢", "🙂"])
    @pytest.mark.parametrize(
        ("language", "entry", "code", "show"),
        [
            ("python", "main.py", "print(ascii(input()))", "'a1'"),
            ("bash", "main.sh", "head -n 1 | od -An -tx1", "61 31 0a"),
            ("bash", "main.sh", "read line; printf %s \"$line\" | od -An -tx1", "61 31"),
            ("javascript", "main.js", "console.log(JSON.stringify(require('fs').readFileSync(0)+''))", '"a1'),
        ],
    )  # fmt: skip
    async def test_it_removes_a_whole_character(self, server, erased, language, entry, code, show):
        async with session(server, language) as client:
            await client.run(1, code, mode="tty", entry=entry)
            await client.input(1, f"a{erased}\x7f1\n\x04".encode())
            channel = await client.ended(1)
            assert show in channel.text, channel.text

    async def test_in_what_a_shell_starts(self, server):
        async with session(server, "bash") as client:
            await client.send(m.Shell(1, 80, 24))
            await client.until(1, "$ ")
            await client.input(1, b"echo re''ady; head -n 1 | od -An -tx1\n")
            await client.until(1, "ready")
            await client.input(1, "a漢\x7fä\x7f1\n".encode())
            await client.until(1, "61 31 0a")


class TestWhatAPhaseLeaves:
    @pytest.mark.parametrize("mode", ["tty", "pipe"])
    async def test_a_compiler_leaves_nothing_to_the_program(self, server, mode):
        files = tuple(
            m.File(name, text.encode())
            for name, text in {"Makefile": MAKEFILE, "leave.py": LEAVE, "main.c": BIG}.items()
        )
        async with session(server, "c") as client:
            await client.send(m.Run(1, mode, files=files, entry="main.c", cols=80, rows=24))
            await client.wait(lambda: client.channel(1).end > 1_000_000, 20, "a megabyte")
            await client.input(1, b"typed\n")
            channel = await client.ended(1)
            running = next(state for state in channel.states if state.phase == "running")
            assert channel.exit.code == 0, channel.text[-200:]
            end = "\r\n" if mode == "tty" else "\n"
            said = channel.data[running.offset :].decode().split(end)
            assert said[0] == ("24 1" if mode == "tty" else "0 1")
            assert sum(line.startswith("0123456789") for line in said) == (1 << 20) // 50
            assert "typed" in said[-3:]

    async def test_a_command_leaves_nothing_to_the_next_in_a_shell(self, server):
        async with session(server, "bash") as client:
            await client.run(1, "sleep 600", entry="main.sh")
            await client.send(m.Shell(2, 80, 24))
            await client.until(2, "$ ")
            code = "import fcntl,os\nfcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK | os.O_RDWR)"
            await client.input(2, f"python3 -c '{code}'\n".encode())
            await client.input(
                2, b"head -c 1000000 /dev/zero | tr '\\0' x | tee big | cat; wc -c < big; echo $?$?\n"
            )
            await client.until(2, "1000000\r\n00", 20)
            assert client.channel(2).text.count("x") > 1_000_000


async def test_programs_are_told_of_colours(server):
    async with session(server) as client:
        code = "import os\nprint(os.environ['TERM'], os.environ['COLORTERM'])"
        assert (await client.result(1, code, mode="tty")).text == "xterm-256color truecolor\r\n"


def stops(client, channel):
    return [one.by for one in client.messages if isinstance(one, m.Stopped) and one.channel == channel]


class TestStandingStill:
    @pytest.mark.parametrize(
        ("mode", "code", "keys", "by"),
        some_now(
            [
                ("tty", "import time\nwhile True: time.sleep(.01)", b"\x1a", "TSTP"),
                ("tty", "import os\nos.kill(0, 19)\nwhile True: pass", b"", "STOP"),
                (
                    "pipe",
                    "import os\nos.kill(os.getpid(), 19)\nwhile True: pass",
                    b"",
                    "STOP",
                ),
                (
                    "tty",
                    "import os, termios\ntermios.tcflow(1, 0)\nwhile True: print('x')",
                    b"",
                    "output",
                ),
                ("tty", "input()\nwhile True: print('x')", b"\x13\n", "output"),
                (
                    "tty",
                    "import os\nos.tcsetpgrp(0, os.getppid())\ninput()",
                    b"",
                    "TTIN",
                ),
            ],
            0,
            1,
            4,
        ),
    )
    async def test_it_is_told_and_goes_on_when_asked(self, server, mode, code, keys, by):
        async with session(server) as client:
            await client.run(1, "print('on', flush=True)\n" + code, mode=mode)
            await client.until(1, "on")
            if keys:
                await client.input(1, keys)
            await client.wait(lambda: stops(client, 1), 10, "to be told that it stands still")
            assert stops(client, 1) == [by]
            async with attach(server, client.opened, role="watch") as other:
                await other.wait(lambda: stops(other, 1) == [by], 10, "who attaches is told")
            if by != "TTIN":
                await client.send(m.Signal(1, "CONT"))
                await client.wait(lambda: stops(client, 1) == [by, None], 10, "to be told that it goes on")
            await client.send(m.Kill(1))
            assert (await client.ended(1)).exit.reason == "killed"
            assert stops(client, 1)[-1] is None
            assert stops(client, 1).count(by) == 1

    async def test_a_compiler_that_stands_still(self, server):
        makefile = m.File("Makefile", b"prog:\n\techo on; kill -TSTP $$PPID; echo back\n")
        async with session(server, "c") as client:
            await client.send(m.Run(1, "tty", files=(makefile, m.File("main.c", b"")), entry="main.c"))
            await client.wait(lambda: stops(client, 1) == ["TSTP"], 15, "to be told")
            assert [one.phase for one in client.channel(1).states] == ["compiling"]
            await client.send(m.Signal(1, "CONT"))
            await client.until(1, "back\r\n")

    async def test_what_stops_and_goes_on_all_the_time_is_no_flood(self, server):
        code = (
            "import os, time\npid = os.getpid()\n"
            "if not os.fork():\n    end = time.time() + 2\n"
            "    while time.time() < end: os.kill(pid, 19); os.kill(pid, 18)\n"
            "    os._exit(0)\n"
            "end = time.time() + 2\nwhile time.time() < end: pass\nos.wait()"
        )
        async with session(server) as client:
            await client.result(1, code)
            assert len(stops(client, 1)) < 50


@pytest.mark.parametrize(("mode", "arrives"), [("tty", 4095), ("pipe", 6000)])
async def test_how_much_of_a_line_arrives(server, mode, arrives):
    """As docs/protocol.md describes a terminal's lines."""
    async with session(server) as client:
        await client.run(1, "print(len(input()), input())", mode=mode)
        await client.input(1, b"x" * 6000 + b"\nnext\n")
        assert f"{arrives} next" in (await client.ended(1)).text
