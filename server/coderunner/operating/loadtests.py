"""Load tests that the operator starts: `coderunner.bench.load` as a process of its own, which is a client of
this server as any other, so that it measures what clients see and takes nothing of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from coderunner.errors import AlreadyRunning, NoAddress
from coderunner.logs import fields
from coderunner.schema.admin import LoadFigures, LoadTest, StartLoadTest
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

KEPT = 20  # reports
MAX_LINE = 64 * 1024  # bytes of a line of the process
MAX_FILE = 4 * 1024 * 1024  # bytes of the reports' file
STOP_SECONDS = 0.3  # for a test to end when the server does
GRACE_SECONDS = 60.0  # beside the test's own time: sessions that are in the queue, and the last ones' ends


class LoadTests:
    """The tests and their reports. `file`: where the reports are stored. `url`: the server's address, once it
    listens. `key`: the credential, "" without one."""

    def __init__(self, file: Path, key: str) -> None:
        self.url = ""
        self._file = file
        self._key = key
        self._tests: deque[LoadTest] = deque(maxlen=KEPT)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tasks = Tasks("load tests")

    async def load(self) -> None:
        """Reads the reports that earlier servers have stored."""
        self._tests.extend(await asyncio.to_thread(_read, self._file))

    def all(self) -> tuple[LoadTest, ...]:
        """The tests, the newest first."""
        return tuple(self._tests)

    def one(self, id: str) -> LoadTest:
        """A test. Raises NoAddress."""
        for test in self._tests:
            if test.id == id:
                return test
        raise NoAddress("there is no such load test")

    def start(self, wanted: StartLoadTest) -> LoadTest:
        """Starts a test. Raises AlreadyRunning."""
        if any(one.state == "running" for one in self._tests):
            raise AlreadyRunning("a load test runs already; wait for its end, or cancel it")
        test = LoadTest(
            id=secrets.token_hex(6), state="running", sessions=wanted.sessions, seconds=wanted.seconds,
            language=wanted.language, began=time.time(), ended=None, progress=0.0, message="",
            figures=LoadFigures(),
        )  # fmt: skip
        self._tests.appendleft(test)
        log.info(
            "load test started", extra=fields(test=test.id, sessions=test.sessions, seconds=test.seconds)
        )
        self._tasks.start(self._run(test), "load-test")
        return test

    def cancel(self, id: str) -> LoadTest:
        """Ends a test; its report has what was measured until then. Raises NoAddress."""
        test = self.one(id)
        if test.state == "running":
            test = self._change(id, state="cancelled")
            if id in self._processes:
                self._processes[id].terminate()
        return test

    def _change(self, id: str, **news: Any) -> LoadTest:
        """Replaces fields of a test. Raises NoAddress."""
        for index, test in enumerate(self._tests):
            if test.id == id:
                self._tests[index] = replace(test, **news)
                return self._tests[index]
        raise NoAddress("there is no such load test")

    async def _run(self, test: LoadTest) -> None:
        """Follows a test's process to its end, and stores the report."""
        loop = asyncio.get_running_loop()

        def told(line: bytes) -> None:
            """Takes the figures of a line that the process has printed."""
            with contextlib.suppress(msgspec.DecodeError, NoAddress):
                news = msgspec.json.decode(line, type=LoadTest)
                self._change(test.id, progress=min(1.0, max(0.0, news.progress)), figures=news.figures)

        message = "the process ended"
        try:
            code, said = await asyncio.to_thread(self._process, test, loop, told)
            message = "" if code == 0 else said or f"the process ended with {code}"
        except OSError as error:
            message = f"the process did not start: {error}"
        finally:
            self._processes.pop(test.id, None)
            last = self.one(test.id)
            state, figures = last.state, replace(last.figures, waiting=0)
            state = state if state == "cancelled" else "failed" if message else "done"
            done = {"progress": 1.0} if state == "done" else {}
            message = "" if state == "cancelled" else message
            news = {"state": state, "message": message, "ended": time.time(), "figures": figures}
            ended = self._change(test.id, **news, **done)
            log.info("load test ended", extra=fields(test=test.id, state=state, runs=ended.figures.runs))
        await self._keep()

    def _process(self, test: LoadTest, loop: asyncio.AbstractEventLoop, told: Any) -> tuple[int, str]:
        """Runs the process in the present thread. `told`: called in the loop with each line of figures.
        Returns the exit code, and the last other line, which says what failed. Raises OSError."""
        process = subprocess.Popen(
            [sys.executable, "-m", "coderunner.bench.load", self.url, str(test.sessions), str(test.seconds),
             test.language],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            # Not as an argument: those can be seen by every user of the machine.
            env={**os.environ, "CODERUNNER_KEY": self._key, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        self._processes[test.id] = process
        # It may have been cancelled before it was in `_processes`, where `cancel` looks for it.
        if self.one(test.id).state != "running":
            process.terminate()
        limit = threading.Timer(test.seconds + GRACE_SECONDS, process.kill)
        limit.start()
        try:
            assert process.stdout is not None
            words = b""
            while line := process.stdout.readline(MAX_LINE):
                if line.startswith(b"{"):
                    loop.call_soon_threadsafe(told, line)
                else:
                    words = line.strip() or words
            return process.wait(), words[:400].decode(errors="replace")
        finally:
            limit.cancel()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    async def _keep(self) -> None:
        """Stores the reports; an error is logged."""
        try:
            await asyncio.to_thread(_write, self._file, msgspec.json.encode(list(self._tests)))
        except OSError as error:
            log.warning("the load test's report is not kept", extra=fields(why=str(error)))

    async def stop(self) -> None:
        """Ends the tests that run."""
        for process in self._processes.values():
            process.terminate()
        await self._tasks.finish(STOP_SECONDS)
        await self._tasks.stop()


def _read(file: Path) -> list[LoadTest]:
    """The stored reports; none if the file is missing or damaged."""
    try:
        with file.open("rb") as kept:
            found = msgspec.json.decode(kept.read(MAX_FILE), type=list[LoadTest])
    except (OSError, msgspec.DecodeError):
        return []
    # One that a server left running when it was killed has no end.
    return [
        replace(one, state="failed", message="the server ended") if one.state == "running" else one
        for one in found
    ]


def _write(file: Path, data: bytes) -> None:
    """Replaces the file atomically. Raises OSError."""
    draft = file.with_name(file.name + ".new")
    with open(draft, "wb", opener=lambda path, flags: os.open(path, flags | os.O_CLOEXEC, 0o600)) as kept:
        kept.write(data)
    draft.replace(file)
