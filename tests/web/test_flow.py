"""Flow control end to end: a slow reader delays only itself."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import time
from pathlib import Path

import pyte

from coderunner.core.bulk import BYTES_PER_PROCESSOR, MAX_PROCESSORS
from coderunner.schema import messages as m
from coderunner.wire.flow import MAX_WINDOW
from tests.harness import Client, attach, eventually, session, workspace

BESIDE = MAX_WINDOW  # bytes of a flood that come while a key's echo is waited for, the median
ECHO = "import os,tty\ntty.setraw(0)\nos.write(1,b'!')\nwhile True: os.write(1,os.read(0,100))\n"


def resident(pid: int) -> int:
    """Resident memory of a process in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


async def beside_echoes(client: Client, flood: Client, count: int) -> list[int]:
    """How many bytes of the flood arrived while each of several keys waited for its echo."""
    found = []
    for _ in range(count):
        before, flooded = client.channel(1).end, flood.channel(1).end
        await client.input(1, b"k")
        await client.wait(lambda before=before: client.channel(1).end > before)
        found.append(flood.channel(1).end - flooded)
    return found


async def test_a_client_that_reads_nothing_costs_no_memory_and_no_time_of_others(server):
    async with session(server) as bystander, session(server) as deaf, session(server, "bash") as flood:
        await bystander.run(1, ECHO, mode="tty")
        await bystander.until(1, "!")
        before = resident(server.process.pid)
        # One reads its socket but acknowledges nothing, the other takes all that comes.
        deaf.acks = False
        await deaf.run(1, "while True: print('x' * 1000)", limits={"wall_ms": 60_000})
        await flood.run(1, "yes", entry="main.sh", mode="tty")
        await deaf.wait(lambda: deaf.channel(1).end == 256 * 1024)
        await flood.wait(lambda: flood.channel(1).end > 5_000_000, 30)
        came = await beside_echoes(bystander, flood, 200)
        print(f"beside an echo: {statistics.median(came)} bytes")
        assert resident(server.process.pid) - before < 16 * 1024 * 1024
        assert sum(came) > 0, "it goes on flooding"
        assert statistics.median(came) < BESIDE, "a key goes before what a flood has on its way"
        assert deaf.channel(1).end == 256 * 1024
        for client in (deaf, flood):
            client.acks = True
            before = client.channel(1).end
            await client.send(m.Kill(1))
            await client.wait(lambda client=client: client.channel(1).states[-1].phase == "exited", 30)
            # No flood goes on for long: what was on its way comes, and as much again until it is dead.
            assert client.channel(1).end - before < 2 * MAX_WINDOW
        await deaf.send(m.Ack(1, deaf.channel(1).end))
        assert (await deaf.ended(1)).exit.reason == "killed"
        assert (await flood.ended(1)).exit.reason == "killed"


async def test_programs_print_no_faster_than_their_rate_while_somebody_types(server):
    rate = BYTES_PER_PROCESSOR * min(os.cpu_count() or 1, MAX_PROCESSORS)
    async with session(server) as typist, session(server, "bash") as first, session(server, "bash") as second:
        await typist.run(1, ECHO, mode="tty")
        await typist.until(1, "!")
        floods = (first, second)
        for client in floods:
            await client.run(1, "yes", entry="main.sh", mode="pipe")
        await typist.input(1, b"k")
        for client in floods:
            await client.wait(lambda client=client: client.channel(1).end > 1_000_000, 30)
        before, began = [client.channel(1).end for client in floods], time.monotonic()
        await beside_echoes(typist, first, 300)
        while time.monotonic() - began < 1:
            await beside_echoes(typist, first, 1)
        came = [client.channel(1).end - was for client, was in zip(floods, before, strict=True)]
        assert sum(came) < 1.1 * rate * (time.monotonic() - began) + 2 * MAX_WINDOW
        assert max(came) < 2 * min(came) + MAX_WINDOW, "the two share the rate"
        for client in floods:
            await client.send(m.Kill(1))
            channel = await client.ended(1)
            assert channel.data == (b"y\n" * (channel.end // 2 + 1))[: channel.end], "nothing is lost"


async def test_a_socket_that_is_not_read_at_all_stops_the_program_not_the_server(server):
    async with session(server, keep=True) as client:
        await client.run(1, "import os\nn = 0\nwhile True:\n    n += os.write(1, b'x' * 65536)\n")
        await client.wait(lambda: client.channel(1).end)
        client.stall()
        async with attach(server, client.opened, role="watch") as watcher:
            # The controller's window is full: the program waits, and so does what the watcher sees.
            await watcher.wait(lambda: watcher.channel(1).end >= client.channel(1).end, 20)
            await watcher.send(m.Take())
            await watcher.message(m.Role)
            await watcher.send(m.Kill(1))
            await watcher.wait(lambda: watcher.channel(1).exit, 20)
            assert watcher.channel(1).exit.reason == "killed"
            await watcher.send(m.Close())
            await watcher.closed()


class Screen:
    """The contents of a terminal's screen."""

    _UNKNOWN = re.compile(rb"\x1b\[[>?][0-9;]*m")  # xterm's key modifiers, which pyte takes for colours

    def __init__(self) -> None:
        self.seen = 0
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self._screen)

    def feed(self, data: bytes) -> None:
        self._stream.feed(self._UNKNOWN.sub(b"", data))

    def show(self, data: bytearray) -> None:
        whole = data.rfind(b"\x1b", self.seen)  # a sequence may have come in part
        end = whole if whole >= 0 and len(data) - whole < 32 else len(data)
        self.feed(bytes(data[self.seen : end]))
        self.seen = max(self.seen, end)

    def line(self) -> str:
        return str(self._screen.display[self._screen.cursor.y])


async def test_a_full_screen_program_is_right_again_after_an_overflow(server):
    async with session(server, "bash", keep=True) as client:
        await client.send(m.Shell(1, 80, 24))
        await client.wait(lambda: client.channel(1).end)
        await client.input(1, b"seq -f %070g 500 > numbers; vim -n numbers\n")
        await client.until(1, "numbers")
        await client.wait(lambda: b"\x1b[?1049h" in client.channel(1).data, 10, "vim's screen")
        await client.input(1, b":300\r")
        await client.until(1, "300")
        client.drop()
        await client.closed()
    opened = client.opened
    # While nobody is there, vim draws more than the journal holds.
    async with attach(server, opened) as typist:
        typist.acks = False
        await typist.message(m.Attached)
        typed = b"\x0c" * 1500 + b":400\r:w done\r"  # Ctrl-L: draw all again
        await typist.input(1, typed)
        await typist.wait(lambda: typist.channel(1).in_ack == typist.channel(1).sent, 10)
        typist.drop()
        await typist.closed()
    await eventually(
        lambda: "done" in workspace(server, opened.session, opened.token), 20, "vim's last command"
    )
    async with attach(server, opened, cursors={1: 10}) as back:
        screen = Screen()

        def current() -> bool:
            channel = back.channel(1)
            if not channel.gaps:
                return False
            if not screen.seen:
                screen.feed((channel.gaps[0].restore or "").encode())
            screen.show(channel.data)
            return "400" in screen.line()

        await back.wait(current, 30, "line 400 under the cursor")
        (gap,) = back.channel(1).gaps
        assert "\x1b[?1049h" in gap.restore
        await back.send(m.Close())
        await back.closed()


async def test_programs_that_are_forgotten_are_forgotten_by_the_server_too(server):
    """The agent drops programs for a run that then cannot begin; its error lists what it dropped."""
    async with session(server, "bash") as client:
        await client.result(0, "head -c 300000 /dev/zero", entry="main.sh")
        before = resident(server.process.pid)
        for number in range(1, 121, 2):
            await client.result(number, "head -c 300000 /dev/zero", entry="main.sh")
            await client.run(number + 1, "", entry="main.sh", stdin="none.txt")
            await client.error("no_file")
        # 600 KB each, were they kept.
        assert resident(server.process.pid) - before < 16 * 1024 * 1024
        async with attach(server, client.opened, role="watch") as watcher:
            attached = await watcher.message(m.Attached)
            assert len(attached.channels) < 40


async def test_a_client_far_away_is_sent_more_ahead(server):
    """Each frame is acknowledged after a delay, as over a long line."""
    async with session(server) as client:
        client.acks, client.keep = False, False
        acked, ahead, acks = 0, 0, []

        async def later(offset: int) -> None:
            nonlocal acked
            await asyncio.sleep(0.1)
            acked = max(acked, offset)
            await client.send(m.Ack(1, offset))

        def came(frame) -> None:
            nonlocal ahead
            ahead = max(ahead, frame.offset + len(frame.payload) - acked)
            acks.append(asyncio.create_task(later(frame.offset + len(frame.payload))))

        client.on_output = came
        await client.run(1, "while True: print('x' * 1000)", limits={"wall_ms": 60_000})
        await client.wait(lambda: ahead > 400 * 1024, 30, "more than the window of a client that is near")
        assert ahead <= 512 * 1024
        await client.send(m.Kill(1))
        await client.ended(1)
        await asyncio.gather(*acks)
