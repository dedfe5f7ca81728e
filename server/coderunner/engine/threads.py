"""Blocking work in a thread that can be stopped, as the `docker` SDK needs it beside an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import requests

STOP_SECONDS = 2.0

Say = Callable[[str], None]
_T = TypeVar("_T")


class Stop(threading.Event):
    """Set, it also ends the answer that the thread reads: the engine may be silent about a build for minutes,
    and goes on with it until its reader is gone."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: requests.Response | None = None

    def follow(self, answer: requests.Response, *_: Any, **__: Any) -> None:
        """An answer that is being read: it is closed where the work is stopped."""
        self._answer = answer

    def set(self) -> None:
        """Stops the work, also where it waits for the engine."""
        super().set()
        if self._answer is not None:
            with suppress(OSError, ValueError, RuntimeError):  # it has ended
                self._answer.raw.shutdown()


async def in_thread(work: Callable[[Stop, Say], _T], say: Say) -> _T:
    """Runs `work(stop, tell)` in a thread; `tell` makes the loop call `say`.

    The thread is a daemon: an engine that hangs must not hold up the end of the server.
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

    threading.Thread(target=body, name="images", daemon=True).start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        done.add_done_callback(lambda one: one.cancelled() or one.exception())  # nobody awaits it any more
        stop.set()
        await asyncio.wait([done], timeout=STOP_SECONDS)
        raise
