"""Attacks by output that floods, or that no client reads."""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time

from coderunner.attack.case import Group, same
from coderunner.attack.programs import aftermath, describe
from coderunner.attack.stage import Stage
from coderunner.client.peer import Peer
from coderunner.schema import messages as m

GROUP = Group("streams")
_FLOOD = "import os\nwhile True: os.write(1, b'0123456789abcde\\n' * 4096)"
_KEYS = 40
_COUNT = "import sys\nfor i in range({n}): sys.stdout.write('%07d\\n' % i)"
_ECHO = "import os,tty\ntty.setraw(0)\nos.write(1,b'ready')\nwhile d := os.read(0,64): os.write(1,d)"
TIMES_CALM, LEAST_MS = 20.0, 1.0  # of the same session's echo before; what counts as calm at least


def _numbers(count: int) -> bytes:
    """The output of `_COUNT`."""
    return b"".join(b"%07d\n" % number for number in range(count))


@GROUP.case(
    "flood-read", "server and engine, by endless output that is read", "flowed, killed KILL within 1 s"
)
async def _read(stage: Stage) -> str:
    async with stage.session() as peer:
        peer.keep = False
        await peer.run(1, _FLOOD)
        await peer.wait(lambda: peer.channel(1).end > 8 << 20, 30, "8 MiB")
        return f"flowed, {await _killed(peer, 1)}"


async def _killed(peer: Peer, channel: int) -> str:
    """Kills a program. Returns how it ended, and how soon the server reported that, whatever output was still
    on its way."""
    began = time.monotonic()
    await peer.send(m.Kill(channel))
    stream = peer.channel(channel)
    await peer.wait(lambda: any(one.phase == "exited" for one in stream.states), 10, "the state exited")
    seconds = time.monotonic() - began
    if not peer.acks:
        peer.acks = True
        await peer.send(m.Ack(channel, stream.end))
    await peer.ended(channel)
    assert stream.exit
    return f"{stream.exit.reason} {stream.exit.signal} " + (
        "within 1 s" if seconds < 1.0 else f"in {seconds:.1f} s"
    )


@GROUP.case(
    "flood-not-acknowledged",
    "memory, by endless output that is never acknowledged",
    "held at 262144, killed KILL within 1 s",
)
async def _unacked(stage: Stage) -> str:
    async with stage.session() as peer:
        peer.acks = False
        await peer.run(1, _FLOOD)
        await peer.wait(lambda: peer.channel(1).end >= 262_144, 15, "a full window")
        # That nothing more comes has no event: this is long enough for a flood to show.
        await asyncio.sleep(0.3)
        return f"held at {peer.channel(1).end}, {await _killed(peer, 1)}" + await aftermath(peer)


@GROUP.case(
    "flood-to-a-reader-that-stalls", "memory, by a client that stops reading",
    "another socket kills it: killed KILL",
)  # fmt: skip
async def _stalled(stage: Stage) -> str:
    async with stage.session() as peer:
        assert peer.opened
        await peer.run(1, _FLOOD)
        await peer.run(2, _FLOOD, mode="tty", entry="second.py")
        await peer.wait(lambda: peer.channel(1).end and peer.channel(2).end, 15, "output")
        peer.stall()
        for _ in range(50):
            await peer.send(m.Ping(1))
        async with stage.attach(peer.opened) as other:
            other.keep = False
            await other.message(m.Attached)
            await other.send(m.Kill(1))
            await other.send(m.Kill(2))
            first, second = await other.ended(1), await other.ended(2)
            assert first.exit
            assert second.exit
            await other.send(m.Close())
            await other.closed()
            peer.drop()  # it does not read, so it would not get the close frame
            await peer.closed()
            alike = first.exit.reason == second.exit.reason == "killed"
            return "another socket kills it: " + (describe(first) if alike else f"{first.exit} {second.exit}")


@GROUP.case(
    "flood-to-nobody", "output on a pipe while nobody is attached: the program waits, and nothing is lost",
    "every byte as it was",
)  # fmt: skip
async def _nobody(stage: Stage) -> str:
    async with stage.session() as peer:
        assert peer.opened
        await peer.run(1, _COUNT.format(n=400_000))
        await peer.wait(lambda: peer.channel(1).end, 10, "output")
        peer.drop()
        await peer.closed()
        await asyncio.sleep(0.5)
        async with stage.attach(peer.opened, client=peer.client, go_on=peer) as other:
            stream = await other.ended(1, 40)
            return same(stream.data, _numbers(400_000)) + await aftermath(other)


@GROUP.case(
    "terminal-flood-to-nobody", "output on a terminal while nobody is attached: the gap is reported",
    "1 gap, then every byte as it was",
)  # fmt: skip
async def _terminal_nobody(stage: Stage) -> str:
    count = 300_000
    async with stage.session() as peer:
        assert peer.opened
        await peer.run(1, "import tty; tty.setraw(0)\n" + _COUNT.format(n=count), mode="tty")
        await peer.wait(lambda: peer.channel(1).end, 10, "output")
        peer.drop()
        await peer.closed()
        async with stage.attach(peer.opened, role="watch") as look:
            look.acks = look.keep = False
            await look.wait(lambda: _over(look), 30, "the end of the program")
        async with stage.attach(peer.opened, client=peer.client, go_on=peer) as other:
            stream = await other.ended(1, 40)
            gap = stream.gaps[0] if stream.gaps else m.Gap(1, 0, 0, None)
            # `data` has the bytes before the gap, and right behind them those after it.
            tail = bytes(stream.data[gap.from_ :]) if stream.gaps else bytes(stream.data)
            return f"{len(stream.gaps)} gap, then {same(tail, _numbers(count)[gap.to :])}" + await aftermath(
                other
            )


def _over(peer: Peer) -> bool:
    """Whether the client was told that the program in channel 1 has exited."""
    phases = [state.phase for state in peer.channel(1).states]
    phases += [view.phase for one in peer.messages if isinstance(one, m.Attached) for view in one.channels]
    return "exited" in phases


@GROUP.case("eight-floods", "one session, by eight channels that flood at once", "all flow, killed x 8")
async def _eight(stage: Stage) -> str:
    async with stage.session() as peer:
        peer.keep = False
        for channel in range(1, 9):
            await peer.run(channel, _FLOOD, mode="tty" if channel % 2 else "pipe")
        await peer.wait(
            lambda: all(peer.channel(n).end > 300_000 for n in range(1, 9)), 30, "output of all eight"
        )
        for channel in range(1, 9):
            await peer.send(m.Kill(channel))
        ends = [(await peer.ended(channel)).exit for channel in range(1, 9)]
        return f"all flow, killed x {sum(1 for end in ends if end and end.reason == 'killed')}"


@GROUP.case("echo-beside-a-flood", "the echo of one channel, by the flood of another of its session", "quick")
async def _beside(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.run(2, _ECHO, mode="tty", entry="echo.py")
        await peer.until(2, "ready")
        calm = await _echo(peer, 0)
        await peer.run(1, _FLOOD)
        await peer.wait(lambda: peer.channel(1).end > 1 << 20, 20, "a flood")
        busy = await _echo(peer, _KEYS)
        await peer.send(m.Kill(1))
        await peer.ended(1)
        times = busy / max(calm, LEAST_MS)
        return "quick" if times < TIMES_CALM else f"{busy:.0f} ms, {times:.0f} times that before"


async def _echo(peer: Peer, typed: int) -> float:
    """The median of _KEYS keys' echoes on channel 2, in milliseconds. `typed`: how many keys were sent
    before."""
    late = []
    for number in range(typed, typed + _KEYS):
        began = time.monotonic()
        await peer.input(2, b"k", offset=number)
        await peer.wait(lambda number=number: peer.channel(2).end > 5 + number, 10, "an echo")  # type: ignore[misc]
        late.append((time.monotonic() - began) * 1000)
    return statistics.median(late)


@GROUP.case("errors-and-output-mixed", "the order of two streams, by a flood on both", "both exact")
async def _mixed(stage: Stage) -> str:
    code = "import os\nfor i in range(20000):\n    os.write(1, b'o%06d\\n' % i); os.write(2, b'e%06d\\n' % i)"
    out: dict[int, hashlib._Hash] = {1: hashlib.sha256(), 2: hashlib.sha256()}
    async with stage.session() as peer:
        peer.on_output = lambda frame: out[frame.stream].update(frame.payload)
        await peer.result(1, code)
        exact = [
            out[stream].digest()
            == hashlib.sha256(b"".join(b"%c%06d\n" % (letter, i) for i in range(20000))).digest()
            for stream, letter in ((1, ord("o")), (2, ord("e")))
        ]
        return "both exact" if all(exact) else f"exact: {exact}"
