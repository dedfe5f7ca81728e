"""A server that lives shows it to all of the machine; two with one key never do, and nobody else can."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coderunner import sign
from coderunner.errors import CannotStart
from coderunner.sessions.record import owner_of
from coderunner.sign import Holders, alone, holders, lives_elsewhere
from tests.harness import ROOT, eventually

NAME = f"sign-{os.getpid()}"
KEY, OTHER = b"k" * 32, b"o" * 32
PLACE = f"\0coderunner/{NAME}/{owner_of(KEY)}"
HOLD = (
    "import asyncio, sys\nfrom pathlib import Path\nfrom coderunner.sign import alone\n"
    "async def hold():\n"
    "    async with alone(sys.argv[1], b'k' * 32, Path('/')):\n"
    "        print('there', flush=True)\n        await asyncio.sleep(60)\n"
    "asyncio.run(hold())\n"
)


@contextlib.contextmanager
def another_process() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLD, NAME]
    with subprocess.Popen(command, cwd=ROOT / "server", stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            yield process
        finally:
            process.kill()


async def test_who_lives_is_seen_and_who_is_killed_is_not(tmp_path: Path) -> None:
    assert holders(NAME, tmp_path).alive == set()
    async with alone(NAME, OTHER, tmp_path), alone(f"{NAME}-other", KEY, tmp_path):
        assert holders(NAME, tmp_path).alive == {owner_of(OTHER)}
        with another_process() as process:
            process.send_signal(signal.SIGSTOP)
            assert holders(NAME, tmp_path).alive == {owner_of(OTHER), owner_of(KEY)}
            assert await lives_elsewhere(NAME, KEY, tmp_path)
            process.kill()
            await eventually(lambda: holders(NAME, tmp_path).alive == {owner_of(OTHER)}, 5, "the end of it")
        assert not await lives_elsewhere(NAME, KEY, tmp_path)
    assert holders(NAME, tmp_path).alive == set()


def test_where_the_kernel_does_not_tell_nobody_is_seen(tmp_path: Path) -> None:
    assert holders(NAME, tmp_path, tmp_path / "none") == Holders()


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_server_with_this_key_keeps_another_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    monkeypatch.setattr(sign, "LEAVING_SECONDS", 0.1)
    with another_process() as process:
        if stopped:
            process.send_signal(signal.SIGSTOP)
        with pytest.raises(CannotStart, match="a copy of its STATE_DIR"):
            async with alone(NAME, KEY, tmp_path):
                pytest.fail("two servers have one key")


async def test_of_two_copies_that_start_at_once_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign, "LEAVING_SECONDS", 0.1)
    refused = asyncio.Event()

    async def begin() -> str:
        try:
            async with alone(NAME, KEY, tmp_path):
                await refused.wait()
                return "began"
        except CannotStart:
            refused.set()
            return "refused"

    async with asyncio.timeout(20):
        assert sorted(await asyncio.gather(begin(), begin())) == ["began", "refused"]


async def test_one_that_ends_is_waited_for(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as first:
        await first.enter_async_context(alone(NAME, KEY, tmp_path))
        second = contextlib.AsyncExitStack()
        waiting = asyncio.create_task(second.enter_async_context(alone(NAME, KEY, tmp_path)))
        await asyncio.sleep(0)
        assert not waiting.done()
        await first.aclose()
        await waiting
        assert holders(NAME, tmp_path).alive == {owner_of(KEY)}
        await second.aclose()


async def test_a_server_of_any_user_is_known_by_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign, "LEAVING_SECONDS", 0.1)
    monkeypatch.setattr(sign, "_trusted", lambda _: set())  # it runs as another user
    with another_process():
        with pytest.raises(CannotStart, match="a copy of its STATE_DIR"):
            async with alone(NAME, KEY, tmp_path):
                pytest.fail("two servers have one key")


def silent(_: socket.socket) -> None:
    """Bound, and nobody is let in."""


def deaf(one: socket.socket) -> None:
    """Everybody is let in and gets no answer."""
    one.listen()


def full(one: socket.socket) -> None:
    """As many have come as may wait, so that who comes now is not even refused."""
    one.listen(0)
    with contextlib.suppress(BlockingIOError):
        for _ in range(8):
            caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            callers.append(caller)
            caller.connect(PLACE)


callers: list[socket.socket] = []


@pytest.mark.parametrize("how", [silent, deaf, full])
async def test_another_user_who_takes_the_name_keeps_no_server_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how
) -> None:
    monkeypatch.setattr(sign, "LEAVING_SECONDS", 0.1)
    monkeypatch.setattr(sign, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(sign, "_trusted", lambda _: set())  # this process stands for another user's
    with socket.socket(socket.AF_UNIX) as taken, caplog.at_level(logging.WARNING):
        taken.bind(PLACE)
        how(taken)
        async with alone(NAME, KEY, tmp_path):
            assert "another user has taken the name" in caplog.text
            assert not await lives_elsewhere(NAME, KEY, tmp_path)
            told = f"process {os.getpid()} of user {os.geteuid()}" if how is deaf else "a process"
            assert holders(NAME, tmp_path) == Holders(strangers={owner_of(KEY): told})
        while callers:
            callers.pop().close()


async def test_who_answers_something_else_has_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign, "_trusted", lambda _: set())
    async with alone(NAME, OTHER, tmp_path):  # all that it has is another key
        with monkeypatch.context() as patched:
            patched.setattr(sign, "owner_of", lambda _: owner_of(OTHER))
            assert not await lives_elsewhere(NAME, KEY, tmp_path)
            assert await lives_elsewhere(NAME, OTHER, tmp_path)


async def test_a_crowd_that_asks_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any user may connect: who sends nothing, and who comes by the hundred, is cut."""
    async with alone(NAME, KEY, tmp_path):
        answer_seconds = sign.ANSWER_SECONDS
        monkeypatch.setattr(sign, "ANSWER_SECONDS", 0.2)
        crowd = [await asyncio.open_unix_connection(PLACE) for _ in range(3 * sign.AT_ONCE)]
        ends = [asyncio.create_task(reader.read()) for reader, _ in crowd]
        done, _ = await asyncio.wait(ends, timeout=20)
        assert len(done) == len(crowd)
        for _, writer in crowd:
            writer.close()
        monkeypatch.setattr(sign, "ANSWER_SECONDS", answer_seconds)
        monkeypatch.setattr(sign, "_trusted", lambda _: set())
        assert await lives_elsewhere(NAME, KEY, tmp_path)
