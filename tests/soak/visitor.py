"""A visitor who comes back after every cut, and checks each byte."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp

from coderunner.schema import messages as m
from tests.harness import Channel, Client, Unexpected, connect, random_id

PATIENCE = 60.0


@dataclass
class Balance:
    """What was begun and what came of it; ``faults`` must stay empty."""

    begun: int = 0
    ended: int = 0
    programs: int = 0
    exits: int = 0
    written: int = 0
    received: int = 0
    gaps: int = 0
    typed: int = 0
    lost: int = 0  # connections that were attached
    tries: int = 0  # to connect, that failed: the server was away, or the connection was cut too early
    refused: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def account(self, name: str, channel: Channel) -> None:
        """A program has ended: what it wrote is what came, and what was told to be missing."""
        assert channel.exit is not None
        self.exits += 1
        self.reasons[channel.exit.reason] = self.reasons.get(channel.exit.reason, 0) + 1
        missing = sum(gap.to - gap.from_ for gap in channel.gaps)
        self.written += channel.exit.offset
        self.received += len(channel.data)
        self.gaps += missing
        if len(channel.data) + missing != channel.exit.offset:
            self.faults.append(f"{name}: {len(channel.data)} + {missing} of {channel.exit.offset} bytes")


class Visitor:
    """One session, over however many connections it takes."""

    def __init__(self, url: str, balance: Balance, chance: random.Random) -> None:
        self.url = url
        self.balance = balance
        self.chance = chance
        self.client = random_id()
        self.channels: dict[int, Channel] = {}
        self.opened: m.Opened | None = None

    async def open(self) -> bool:
        """False when the server refused (full, stopping): that is an answer."""
        nonce = random_id()
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while asyncio.get_running_loop().time() < deadline:
            try:
                async with connect(self.url, client=self.client) as one:
                    await one.send(m.Open("python", self.client, nonce=nonce))
                    await one.wait(lambda one=one: one.opened or refusal(one), PATIENCE, "an answer to open")
                    if one.opened:
                        self.opened = one.opened
                        self.balance.begun += 1
                        return True
            except (AssertionError, Unexpected, aiohttp.ClientError, ConnectionError, TimeoutError):
                self.balance.tries += 1
            else:
                self.balance.refused += 1
            await asyncio.sleep(self.chance.uniform(0.05, 0.3))
        return False

    @contextlib.asynccontextmanager
    async def attached(self) -> AsyncIterator[Client]:
        assert self.opened is not None
        async with connect(self.url, f"ws/{self.opened.session}", client=self.client) as one:
            one.channels = self.channels
            cursors = {number: channel.end for number, channel in self.channels.items()}
            await one.send(m.Attach(self.opened.session, self.opened.token, self.client, cursors=cursors))
            await one.wait(lambda: any(isinstance(x, m.Attached) for x in one.messages), 20, "attached")
            yield one

    async def until_done(self, what, *, name: str) -> None:
        """Repeats ``await what(client)`` over new connections until it returns."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            attached = False
            try:
                async with self.attached() as one:
                    attached = True
                    await what(one)
                    return
            except (AssertionError, Unexpected, aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                self.balance.lost += attached
                self.balance.tries += not attached
                if asyncio.get_running_loop().time() > deadline:
                    raise AssertionError(f"{name}: not done in {PATIENCE} s: {error}") from None
                await asyncio.sleep(self.chance.uniform(0.0, 0.05))

    # --- what visitors do ----------------------------------------------------------------------------------

    async def run(self, number: int, code: str, *, mode: str = "pipe", **fields) -> Channel:
        """A program from its start to its accounted end."""
        entry = f"program{number}.py"
        files = (m.File(entry, code.encode()),)
        self.balance.programs += 1

        async def work(one: Client) -> None:
            if number not in self.channels or not self.channels[number].states:
                await one.send(m.Run(number, mode, files=files, entry=entry, **fields))
            await one.wait(lambda: one.channel(number).exit is not None, PATIENCE, "the exit")

        await self.until_done(work, name=f"channel {number}")
        channel = self.channels[number]
        self.balance.account(f"{self.opened.session} channel {number}", channel)
        return channel

    async def count(self, number: int) -> None:
        lines = self.chance.randrange(100, 60_000)
        channel = await self.run(number, f"for i in range({lines}): print('%07d' % i)\n")
        if bytes(channel.data) != b"".join(b"%07d\n" % i for i in range(lines)):
            self.balance.faults.append(f"count: {len(channel.data)} bytes are not what was printed")

    async def flood(self, number: int) -> None:
        """A terminal that is left alone: what falls off is told."""
        lines = self.chance.randrange(1000, 120_000)
        await self.run(number, f"for i in range({lines}): print('%07d' % i)\n", mode="tty")

    async def endless(self, number: int) -> None:
        channel = await self.run(number, "while True: print('x' * 500)\n", limits={"wall_ms": 700})
        if channel.exit.reason != "wall_timeout":
            self.balance.faults.append(f"endless: {channel.exit}")

    async def bomb(self, number: int) -> None:
        channel = await self.run(number, "x = bytearray(1 << 30)\n")
        if channel.exit.reason != "oom":
            self.balance.faults.append(f"bomb: {channel.exit}")

    async def type(self, number: int) -> None:
        """Input over cuts: every byte once."""
        data = self.chance.randbytes(self.chance.randrange(1000, 200_000))
        code = "import sys, hashlib\nd = sys.stdin.buffer.read()\nprint(len(d), hashlib.md5(d).hexdigest())\n"
        entry = f"program{number}.py"
        self.balance.programs += 1
        self.balance.typed += len(data)

        async def work(one: Client) -> None:
            channel = one.channel(number)
            if not channel.states:
                files = (m.File(entry, code.encode()),)
                await one.send(m.Run(number, "pipe", files=files, entry=entry))
                await one.wait(lambda: channel.states, 20, "a state")
            # Again from what is known to have arrived; the server trims what it has.
            channel.sent = channel.in_ack
            await one.input(number, data[channel.sent :], piece=1024)
            await one.send(m.Eof(number, len(data)))
            await one.wait(lambda: channel.exit is not None, PATIENCE, "the exit")

        await self.until_done(work, name="type")
        channel = self.channels[number]
        self.balance.account("type", channel)
        expected = f"{len(data)} {hashlib.md5(data).hexdigest()}\n"
        if channel.text != expected:
            self.balance.faults.append(f"type: {channel.text!r}, expected {expected!r}, {channel.exit}")

    async def close(self) -> None:
        async def work(one: Client) -> None:
            await one.send(m.Close())
            await one.wait(lambda: any(isinstance(x, m.Closed) for x in one.messages), 20, "closed")

        deadline = asyncio.get_running_loop().time() + PATIENCE
        while asyncio.get_running_loop().time() < deadline:
            try:
                async with self.attached() as one:
                    await work(one)
                break
            except (AssertionError, Unexpected, aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                if "no_session" in str(error) or "4404" in str(error):
                    break  # the close arrived; only its answer did not
                self.balance.tries += 1
                await asyncio.sleep(0.05)
        self.balance.ended += 1


def refusal(one: Client) -> m.ErrorMessage | None:
    return next((x for x in one.messages if isinstance(x, m.ErrorMessage)), None)
