"""Networks of groups on the real engine, and programs that wait until they have been put into one."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Network
from typing import Any

import pytest

from coderunner.engine.containers import ContainerSpec
from coderunner.engine.docker import DockerEngine
from coderunner.engine.networks import (
    NETWORK_TYPE,
    NetworkSpec,
)

WAIT = "import sys; sys.stdin.readline();"  # until the test has put it where it belongs
POOL = list(IPv4Network("10.229.0.0/16").subnets(new_prefix=28))
_numbers = itertools.count(os.getpid() * 7 % len(POOL))


def next_subnet() -> IPv4Network:
    """One that no other test of this process has."""
    return POOL[next(_numbers) % len(POOL)]


MakeNetwork = Callable[[], Awaitable[tuple[str, NetworkSpec]]]


@pytest.fixture
async def make_network(engine: DockerEngine, labels: dict[str, str]) -> AsyncIterator[MakeNetwork]:
    marks = {**labels, "type": NETWORK_TYPE}

    async def make() -> tuple[str, NetworkSpec]:
        token = secrets.token_hex(6)
        name = f"coderunner-test-{token}"
        spec = NetworkSpec(name=name, bridge=token, subnet=next_subnet(), labels=marks)
        return await engine.networks.create(spec), spec

    yield make
    for container in await engine.list(labels):
        await engine.remove(container.id)
    for network in await engine.networks.list(marks):
        await engine.networks.remove(network.id)
    assert await engine.networks.list(marks) == []


class Program:
    """A container that waits for a line before it does what it is for."""

    def __init__(self, engine: DockerEngine, container: str, stream: Any) -> None:
        self.engine, self.container, self.stream = engine, container, stream
        self.said = b""

    async def move(self, network: str, *names: str) -> None:
        await self.engine.networks.disconnect("none", self.container)
        await self.engine.networks.connect(network, self.container, names)

    async def go(self) -> None:
        await self.stream.write(b"go\n")

    async def until(self, words: bytes) -> bytes:
        async with asyncio.timeout(60):
            while words not in self.said:
                more = await self.stream.read()
                assert more, f"it ended: {self.said!r} {self.stream.stderr_tail!r}"
                self.said += more
        return self.said


Begin = Callable[..., Awaitable[Program]]


@pytest.fixture
async def begin(engine: DockerEngine, make_spec: Callable[..., ContainerSpec]) -> AsyncIterator[Begin]:
    """Starts a waiting program without a network, as a warm container is; argv behind the source."""
    streams = []

    async def start(source: str, *argv: str) -> Program:
        python = ("/usr/bin/python3", "-I", "-S", "-u", "-c", WAIT + source, *argv)
        container = await engine.create(make_spec(python))
        stream = await engine.attach(container)
        streams.append(stream)
        await engine.start(container)
        return Program(engine, container, stream)

    yield start
    for stream in streams:
        await stream.close()
