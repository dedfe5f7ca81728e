"""Runs blocking work in a thread that can be stopped; used for the `docker` SDK."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import requests

STOP_SECONDS = 2.0  # that a cancelled caller waits for the thread to end

# Of progress: a line for the log or the terminal.
Say = Callable[[str], None]
_T = TypeVar("_T")


class Stop(threading.Event):
    """An event that stops the thread's work. Setting it also closes the response that the thread is reading:
    in a build the engine may send nothing for minutes, and continues until its client disconnects."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: requests.Response | None = None

    def follow(self, answer: requests.Response, *_: Any, **__: Any) -> None:
        """Registers a response, which `set` closes. A hook of `requests`, hence the other arguments."""
        self._answer = answer

    def set(self) -> None:
        """Stops the work, even if it is waiting for the engine."""
        super().set()
        if self._answer is not None:
            with suppress(OSError, ValueError, RuntimeError):  # raised if it has ended
                # `shutdown` and not `close`, which would wait for the thread's own read.
                self._answer.raw.shutdown()


async def in_thread(work: Callable[[Stop, Say], _T], say: Say) -> _T:
    """Runs `work(stop, tell)` in a thread and returns its result, or raises its exception.

    `tell`: has the event loop call `say`. If the caller is cancelled, the work is stopped. The thread is a
    daemon, so that an engine that hangs cannot delay the end of the server.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()
    stop = Stop()

    def later(call: Callable[..., None], *values: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(call, *values)

    def settle(setter: Callable[[Any], None], value: object) -> None:
        if not done.done():
            setter(value)

    def body() -> None:
        try:
            result = work(stop, lambda line: later(say, line))
        except BaseException as error:
            later(settle, done.set_exception, error)
        else:
            later(settle, done.set_result, result)

    # A thread for each: asyncio's pool would be waited for at the end of the process.
    threading.Thread(target=body, name="images", daemon=True).start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        # Retrieves the exception, which asyncio would otherwise log, as nothing awaits `done` any more.
        done.add_done_callback(lambda one: one.cancelled() or one.exception())
        stop.set()
        await asyncio.wait([done], timeout=STOP_SECONDS)
        raise
