"""The attach stream: against containers for what it promises, fed by hand for what the wire may do."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import sys

import pytest

from coderunner.engine.attach import STDERR_TAIL, AttachStream
from coderunner.engine.docker import DockerEngine
from coderunner.errors import AgentLost, ContainerGone, EngineTimeout
from tests.engine.conftest import MakeSpec
from tests.harness import docker as docker_command

ECHO = "import os\nwhile data := os.read(0, 65536):\n  while data: data = data[os.write(1, data):]"


async def read_all(stream: AttachStream) -> bytes:
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


async def read_exactly(stream: AttachStream, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := await stream.read()):
        data += more
    return data


async def descriptors() -> int:
    """Open ones, once the event loop has closed what it was told to close."""
    for _turn in range(5):
        await asyncio.sleep(0)
    return len(os.listdir("/proc/self/fd"))


# --- against containers ---------------------------------------------------------------------------------


async def test_attached_before_start_no_output_is_lost(engine: DockerEngine, make_spec: MakeSpec) -> None:
    for _again in range(3):
        container = await engine.create(make_spec("for n in range(5000): print(n)"))
        stream = await engine.attach(container)
        await engine.start(container)
        assert await read_all(stream) == b"".join(b"%d\n" % n for n in range(5000))
        assert await stream.read() == b""  # an end stays an end
        await stream.close()


async def test_every_byte_arrives_both_ways(engine: DockerEngine, make_spec: MakeSpec) -> None:
    container = await engine.create(make_spec(ECHO))
    stream = await engine.attach(container)
    await engine.start(container)
    sent = random.Random(1).randbytes(2 * 1024 * 1024)

    async def send() -> None:
        for start in range(0, len(sent), 50_000):
            await stream.write(sent[start : start + 50_000])

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        received = await read_exactly(stream, len(sent))
    assert received == sent
    await stream.close()


async def test_detach_keys_and_control_characters_are_bytes(
    engine: DockerEngine, make_spec: MakeSpec
) -> None:
    container = await engine.create(make_spec(ECHO))
    stream = await engine.attach(container)
    await engine.start(container)
    keys = b"\x10\x11\x03\x04\x1a\x00\xff"
    for key in keys:
        await stream.write(bytes([key]))
    assert await read_exactly(stream, len(keys)) == keys
    await stream.close()


async def test_a_program_outlives_its_attachment_and_takes_another(
    engine: DockerEngine, make_spec: MakeSpec
) -> None:
    container = await engine.create(make_spec(ECHO))
    await engine.start(container)
    for word in (b"one", b"two", b"three"):
        stream = await engine.attach(container)
        await stream.write(word)
        assert await read_exactly(stream, len(word)) == word
        await stream.close()
    assert (await engine.inspect(container)).running


async def test_error_output_stays_apart_and_bounded(engine: DockerEngine, make_spec: MakeSpec) -> None:
    program = "import sys\nsys.stderr.write('e' * 100000 + 'the end'); sys.stderr.flush(); print('out')"
    container = await engine.create(make_spec(program))
    stream = await engine.attach(container)
    await engine.start(container)
    assert await read_all(stream) == b"out\n"
    assert len(stream.stderr_tail) == STDERR_TAIL
    assert stream.stderr_tail.endswith(b"ethe end")
    await stream.close()


async def test_a_close_ends_a_waiting_read_and_leaves_no_connection(
    engine: DockerEngine, make_spec: MakeSpec
) -> None:
    container = await engine.create(make_spec(ECHO))
    await engine.start(container)
    before = await descriptors()
    stream = await engine.attach(container)
    waiting = asyncio.create_task(stream.read())
    await stream.write(b"x")
    assert await waiting == b"x"
    waiting = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    await stream.close()
    await stream.close()
    assert await waiting == b""
    with pytest.raises(AgentLost):
        await stream.write(b"y")
    assert await descriptors() <= before


async def test_more_streams_than_a_connection_pool_holds(engine: DockerEngine, make_spec: MakeSpec) -> None:
    container = await engine.create(make_spec())
    before = await descriptors()
    streams = [await engine.attach(container) for _ in range(130)]
    await engine.ping()
    for stream in streams:
        await stream.close()
    assert await descriptors() <= before


async def test_nothing_to_attach_to(engine: DockerEngine) -> None:
    before = await descriptors()
    with pytest.raises(ContainerGone, match="no-such-container"):
        await engine.attach("no-such-container")
    assert await descriptors() <= before


async def test_an_abrupt_end_of_the_container_ends_the_stream(
    engine: DockerEngine, make_spec: MakeSpec
) -> None:
    container = await engine.create(make_spec(ECHO))
    stream = await engine.attach(container)
    await engine.start(container)
    await stream.write(b"x")
    assert await stream.read() == b"x"
    docker_command("kill", container)
    assert await stream.read() == b""
    await stream.close()


# --- by hand --------------------------------------------------------------------------------------------


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


async def pair(timeout_s: float = 1.0) -> tuple[AttachStream, asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream and the engine's end of it."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    far_reader, far_writer = await asyncio.open_connection(sock=far)
    return AttachStream(reader, writer, timeout_s), far_reader, far_writer


async def test_cut_anywhere_and_cancelled_at_any_time_no_byte_is_lost() -> None:
    chance = random.Random(2)
    stream, _reader, engine_end = await pair()
    said = [chance.randbytes(chance.randrange(60)) for _ in range(200)]
    wire = b"".join(frame(1, data) + frame(2, b"noise") for data in said)
    heard = b""
    position = 0
    waiting: asyncio.Task[bytes] | None = None
    while position < len(wire):
        step = chance.randrange(1, 40)
        engine_end.write(wire[position : position + step])
        position += step
        await engine_end.drain()
        waiting = asyncio.create_task(stream.read())
        done, _ = await asyncio.wait({waiting}, timeout=0.0005)
        if not done:
            waiting.cancel()
        result = (await asyncio.gather(waiting, return_exceptions=True))[0]
        heard += result if isinstance(result, bytes) else b""
    engine_end.close()
    heard += await read_all(stream)
    assert heard == b"".join(said)
    await stream.close()


async def test_an_end_within_a_frame_is_an_end() -> None:
    stream, _reader, engine_end = await pair()
    engine_end.write(frame(1, b"whole") + frame(1, b"cut off")[:-1])
    engine_end.close()
    assert await stream.read() == b"whole"
    assert await stream.read() == b""
    await stream.close()


async def test_an_empty_frame_is_no_end() -> None:
    stream, _reader, engine_end = await pair()
    engine_end.write(frame(1, b"") + frame(1, b"more"))
    assert await stream.read() == b"more"
    await stream.close()
    engine_end.close()


async def flood(stream: AttachStream) -> None:
    for _ in range(200):  # more than all buffers on the way hold
        await stream.write(bytes(65536))


async def test_input_that_nobody_takes_is_a_timeout() -> None:
    stream, _reader, engine_end = await pair(timeout_s=0.2)
    with pytest.raises(EngineTimeout):
        await flood(stream)
    await stream.close()
    engine_end.close()


async def test_reading_far_ahead_is_bounded() -> None:
    stream, _reader, engine_end = await pair()
    blocks = 0

    async def pour() -> None:
        nonlocal blocks
        while True:
            engine_end.write(frame(1, bytes(32 * 1024)))
            await engine_end.drain()
            blocks += 1

    flooding = asyncio.create_task(pour())
    await asyncio.wait({flooding}, timeout=0.3)
    held = blocks * 32 * 1024
    flooding.cancel()
    await asyncio.gather(flooding, return_exceptions=True)
    assert held < 8 * 1024 * 1024, f"{held} bytes went into the buffers of a reader that does not read"
    assert sys.getsizeof(await stream.read()) > 32 * 1024
    await stream.close()
    engine_end.close()
