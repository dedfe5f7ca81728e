"""Attacks on flow control: acknowledgements of bytes that were not sent, more input than the window allows,
storms of small messages."""

from __future__ import annotations

import asyncio

from coderunner.attack.case import Group
from coderunner.attack.programs import aftermath, describe
from coderunner.attack.stage import Stage
from coderunner.client.peer import Unexpected
from coderunner.schema import messages as m

GROUP = Group("flow")
_SLEEP = "import time; time.sleep(60)"
_WAIT = "print('up', flush=True); import time; time.sleep(60)"


@GROUP.case("ack-ahead", "the window, by an ack beyond what was sent", "ack_ahead, held at 262144")
async def _ahead(stage: Stage) -> str:
    async with stage.session() as peer:
        peer.acks = False
        await peer.run(1, "while True: print('x' * 100)")
        stream = peer.channel(1)
        # The window begins at 256 KiB (docs/protocol.md); without acknowledgements it does not grow.
        await peer.wait(lambda: stream.end >= 262_144, 15, "a full window")
        await peer.send(m.Ack(1, 1 << 40))
        code = await peer.error_code()
        await peer.send(m.Ack(1, 10))  # backwards, or hardly on, is no error
        await peer.send(m.Ack(1, 0))
        # That nothing more comes has no event: this is long enough for a flood to show.
        await asyncio.sleep(0.3)
        held = stream.end - 10
        peer.acks = True
        await peer.send(m.Kill(1))
        await peer.send(m.Ack(1, stream.end))
        await peer.ended(1)
        return f"{code}, held at {held}" + await aftermath(peer)


@GROUP.case("exit-acked-before-it-came", "the record of an end, by an early ack", "exited 0: done")
async def _exit_ahead(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.run(1, "import time; time.sleep(.3); print('done')")
        await peer.wait(lambda: peer.channel(1).states, 10, "start")
        await peer.send(m.Ack(1, 0, exit=True))
        return describe(await peer.ended(1)) + await aftermath(peer)


@GROUP.case(
    "output-of-forgotten-programs",
    "the server's memory, by programs that the agent forgets for a run that cannot begin",
    "no_file, few channels kept",
)
async def _forgotten(stage: Stage) -> str:
    """Runs that are refused after the agent has forgotten the program before them. Each forgotten channel
    would hold up to 512 KiB in the server, without an end."""
    async with stage.session() as peer:
        for number in range(0, 120, 2):
            await peer.result(number, "print('x' * 300_000)")
            await peer.run(number + 1, "", stdin="none.txt")
            code = await peer.error_code()
            if code != "no_file":
                return code
        assert peer.opened is not None
        async with stage.attach(peer.opened, role="watch") as look:
            kept = len((await look.message(m.Attached)).channels)
        return f"no_file, {'few' if kept <= 40 else kept} channels kept" + await aftermath(peer)


@GROUP.case("input-flood", "memory, by input that nobody reads", "input_overflow, killed KILL")
async def _flood(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.run(1, _SLEEP)
        # 16 MiB, where 64 KiB are allowed.
        for number in range(256):
            await peer.input(1, b"x" * 65536, offset=number * 65536)
        code = await peer.error_code()
        await peer.send(m.Kill(1))
        return f"{code}, {describe(await peer.ended(1))}" + await aftermath(peer)


@GROUP.case(
    "input-flood-on-a-terminal",
    "memory, by input to a terminal that nobody reads",
    "input_overflow, killed KILL: up",
)
async def _flood_tty(stage: Stage) -> str:
    code = "import os,time,tty; tty.setraw(0); os.write(1, b'up'); time.sleep(60)"
    async with stage.session() as peer:
        await peer.run(1, code, mode="tty")
        await peer.until(1, "up")
        for number in range(64):
            await peer.input(1, b"x\n" * 32768, offset=number * 65536)
        error = await peer.error_code()
        await peer.send(m.Kill(1))
        return f"{error}, {describe(await peer.ended(1))}" + await aftermath(peer)


@GROUP.case(
    "input-gap",
    "the order of input, by an offset that is too high",
    "input_gap expected 0, bad_frame",
)
async def _gap(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.run(1, _SLEEP)
        await peer.wait(lambda: peer.channel(1).states, 10, "start")
        await peer.input(1, b"x", offset=1 << 50)
        error = await peer.message(m.ErrorMessage)
        # An offset above 2**53 - 1, which JavaScript cannot represent.
        await peer.socket.send_bytes(b"\x02\x00\x00\x01" + b"\xff" * 8 + b"x")
        return f"{error.code} expected {error.expected}, {await peer.error_code()}" + await aftermath(peer)


@GROUP.case("input-of-wrong-kind", "the reader of binary frames", "bad_frame x 5, no_channel")
async def _kind(stage: Stage) -> str:
    async with stage.session() as peer:
        for data in (
            b"",
            b"\x02",
            b"\x01\x01" + bytes(10) + b"x",
            b"\x02\x09" + bytes(10) + b"x",
            b"\xff" * 11,
        ):
            await peer.socket.send_bytes(data)
        codes = [await peer.error_code() for _ in range(5)]
        await peer.input(9, b"x", offset=0)
        seen = f"bad_frame x {codes.count('bad_frame')}, {await peer.error_code()}"
        return seen + await aftermath(peer)


@GROUP.case(
    "eof-twice-and-ahead",
    "the end of input, by repeated and early ones, and on a terminal",
    "exited 0: 3, bad_message",
)
async def _eof(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.run(1, "import sys; print(len(sys.stdin.read()))")
        for _ in range(3):
            await peer.send(m.Eof(1, 3))
        await peer.input(1, b"abc", offset=0)
        await peer.input(1, b"too late", offset=3)
        await peer.send(m.Eof(1, 3))
        first = describe(await peer.ended(1))
        await peer.run(2, _SLEEP, mode="tty")
        await peer.send(m.Eof(2, 0))
        return f"{first}, {await peer.error_code()}" + await aftermath(peer)


@GROUP.case(
    "resize-of-every-kind", "the terminal's size: nothing, negative, enormous", "2x2 2x2 1000x1000 alive"
)
async def _resize(stage: Stage) -> str:
    code = (
        "import os\nwhile True: input(); s = os.get_terminal_size(); print('is', f'{s.columns}x{s.lines}.')"
    )
    async with stage.session() as peer:
        await peer.run(1, code, mode="tty")
        seen = []
        for number, size in enumerate((0, -5, 10**9)):
            await peer.send_raw(f'{{"type":"resize","channel":1,"cols":{size},"rows":{size}}}')
            await peer.input(1, b"\n", offset=number)
            await peer.wait(lambda number=number: peer.channel(1).text.count("is ") > number, 10, "a size")  # type: ignore[misc]
            await peer.wait(lambda number=number: peer.channel(1).text.count(".") > number, 10, "a size")  # type: ignore[misc]
            seen.append(peer.channel(1).text.split("is ")[-1].split(".")[0])
        return " ".join(seen) + " alive" + await aftermath(peer)


@GROUP.case("resize-storm", "agent and program, by 1,000 changes of size in a flood of output", "killed KILL")
async def _storm(stage: Stage) -> str:
    code = "import signal\nsignal.signal(signal.SIGWINCH, lambda *a: None)\nwhile True: print('x' * 70)"
    async with stage.session() as peer:
        peer.keep = False
        await peer.run(1, code, mode="tty")
        await peer.wait(lambda: peer.channel(1).end > 100_000, 15, "a flood")
        for number in range(1000):
            await peer.send(m.Resize(1, 20 + number % 100, 5 + number % 50))
        await peer.send(m.Ping(1))
        await peer.message(m.Pong)
        await peer.send(m.Kill(1))
        return describe(await peer.ended(1)) + await _aftermath_elsewhere(stage, peer.opened)


async def _aftermath_elsewhere(stage: Stage, opened: m.Opened | None) -> str:
    """As `aftermath`, over another socket: the first one does not keep what it reads."""
    assert opened
    async with stage.attach(opened) as other:
        return await aftermath(other)


@GROUP.case("signal-storm", "agent and program, by 2,000 signals", "killed KILL: up")
async def _signals(stage: Stage) -> str:
    code = (
        "import signal,time\n"
        "for n in ('USR1','WINCH','INT'): signal.signal(getattr(signal,'SIG'+n), signal.SIG_IGN)\n"
        "print('up', flush=True)\ntime.sleep(60)"
    )
    async with stage.session() as peer:
        await peer.run(1, code)
        await peer.until(1, "up")
        for _ in range(1000):
            await peer.send(m.Signal(1, "USR1"))
            await peer.send(m.Signal(1, "INT"))
        await peer.send(m.Kill(1))
        return describe(await peer.ended(1)) + await aftermath(peer)


@GROUP.case("run-storm", "the session, by 300 programs started at once", "at most 8 at once, the rest told")
async def _runs(stage: Stage) -> str:
    async with stage.session() as peer:
        # The entry does not exist, so that none of them runs for long.
        for number in range(100, 400):
            await peer.send(m.Run(number, "pipe", entry="none.py"))
        await peer.send(m.Ping(1))
        await peer.message(m.Pong, 20)

        def answered() -> bool:
            """Whether each of the 300 runs was refused or has ended."""
            told = {one.channel for one in peer.messages if isinstance(one, m.ErrorMessage)}
            ended = {number for number, stream in peer.channels.items() if stream.exit}
            return len(told | ended) == 300

        await peer.wait(answered, 30, "an answer to each")
        codes = {one.code for one in peer.messages if isinstance(one, m.ErrorMessage)}
        if not codes <= {"channel_limit", "channels_busy"}:
            raise Unexpected(f"answered with {codes}")
        return "at most 8 at once, the rest told" + await aftermath(peer)


@GROUP.case("number-used-again", "the record of a channel, by its number", "exited 0: first")
async def _number(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.result(1, "print('first')")
        await peer.run(1, "print('second')")
        await peer.send(m.Ping(1))
        await peer.message(m.Pong)
        return describe(peer.channel(1)) + await aftermath(peer)
