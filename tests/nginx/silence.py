"""A session that is opened, left alone for a time, and then spoken to; in a thread, beside other tests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from tests.nginx.front import Front

SECONDS = 90.0
SETTLED_SECONDS = 2.0  # without a word: what the last line brought has come
ECHO = "while True: print('heard', input())"


@dataclass(frozen=True, slots=True)
class Heard:
    """What happened: how long nothing was said, and whether anything came in that time."""

    seconds: float
    said_meanwhile: int
    echoed: bool


class Silence:
    """``result`` is done when the silence is over."""

    def __init__(self, front: Front, address: str) -> None:
        self.result: Future[Heard] = Future()
        self.begun: Future[None] = Future()
        self._front = front
        self._address = address
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="silence")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends it early, where nobody waits for it any more."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def _run(self) -> None:
        try:
            self.result.set_result(asyncio.run(self._keep_silent()))
        except BaseException as error:
            if not self.begun.done():
                self.begun.set_exception(error)
            self.result.set_exception(error)

    async def _keep_silent(self) -> Heard:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._front.session(address=self._address) as client:
            await client.run(1, ECHO, mode="tty")
            await client.input(1, b"one\n")
            channel = await client.until(1, "heard one")
            said = (0, 0)
            while said != (said := (len(client.messages), channel.end)):  # acknowledgements, and the like
                await self._nothing(SETTLED_SECONDS)
            self.begun.set_result(None)
            messages, output, since = *said, self._loop.time()
            await self._nothing(SECONDS)
            seconds = self._loop.time() - since
            meanwhile = len(client.messages) - messages + channel.end - output
            await client.input(1, b"two\n")
            await client.until(1, "heard two")
            return Heard(seconds, meanwhile, "heard two" in channel.text)

    async def _nothing(self, seconds: float) -> None:
        assert self._stop is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
