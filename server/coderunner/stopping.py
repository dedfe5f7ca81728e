"""How the server is told to stop, and what bounds a stop while the container engine hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from coderunner.engine.docker import DockerEngine
from coderunner.errors import EngineError, EngineTimeout
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

# How a server ends; see `app.Server`.
SUSPEND, END, RELOAD, REFUSED, ANOTHERS = "suspend", "end", "reload", "refused", "anothers"
LEAVING = (SUSPEND, RELOAD, ANOTHERS)  # ends after which the sessions' containers continue
INTERRUPTED = 128 + signal.SIGINT  # the exit code, as shells report a death by SIGINT
HUNG_SECONDS = 5.0  # without an answer to the cheapest call: a busy engine needs less than one
STALLED_SECONDS = 10.0  # without any answer while calls wait: a busy engine removes a container in one or two
LOOK_SECONDS = 1.0  # between two such calls
CANCEL_SECONDS = 0.5  # for work that is given up, to clean up


@dataclass(slots=True)
class Stop:
    """Whether the server is to stop. `asked`: how. `left`: the containers could not be removed, as the engine
    hangs."""

    asked: asyncio.Future[str]
    left: bool = False

    def ask(self, how: str) -> None:
        """Stops the server. Only the first call counts."""
        if not self.asked.done():
            self.asked.set_result(how)

    @property
    def how(self) -> str:
        """How it was asked for; END if the server stops without that."""
        return self.asked.result() if self.asked.done() else END

    @property
    def leaving(self) -> bool:
        """Whether nothing may wait, as the containers stay for the next server."""
        return self.left or self.how in LEAVING


def by_signals() -> Stop:
    """Takes this process's signals, for as long as the running loop lives.

    SIGTERM (a deploy) means SUSPEND; so does SIGHUP unless it is ignored (nohup). SIGINT (Ctrl-C) means END;
    when the server is stopping already, it exits at once. To be called before anything is taken or bound: a
    signal that comes while the server starts would kill it in the middle.
    """
    loop = asyncio.get_running_loop()
    stop = Stop(loop.create_future())
    loop.add_signal_handler(signal.SIGTERM, stop.ask, SUSPEND)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, stop.ask, SUSPEND)
    loop.add_signal_handler(signal.SIGINT, _interrupt, stop)
    return stop


def _interrupt(stop: Stop) -> None:
    if not stop.asked.done():
        stop.ask(END)
        return
    log.warning("interrupted again: exiting at once; the next start, or `coderunner reap`, removes the rest")
    logging.shutdown()
    os._exit(INTERRUPTED)


async def unless_stopped(stop: Stop, work: Coroutine[Any, Any, None]) -> bool:
    """Does work of the start; returns False, with the work cancelled, if the server is to stop meanwhile.
    Raises what the work raises."""
    tasks = _own()
    try:
        return await _first(tasks.start(work, "start"), stop.asked)
    finally:
        await _given_up(tasks)


async def unless_hung(engine: DockerEngine, work: Coroutine[Any, Any, None]) -> bool:
    """Does work that needs the engine; returns False, with the work cancelled, if the engine answers nothing
    within HUNG_SECONDS, or no call but `ping` within STALLED_SECONDS. Raises what the work raises."""
    tasks = _own()
    try:
        return await _first(tasks.start(work, "end"), tasks.start(_hung(engine), "watch of the engine"))
    finally:
        await _given_up(tasks)


def _own() -> Tasks:
    return Tasks("start and stop", expected=(Exception,))  # raised to the caller, by `_first`


async def _first(work: asyncio.Task[None], other: asyncio.Future[Any]) -> bool:
    """Whether the work is done before the other; raises what either raises."""
    await asyncio.wait([work, other], return_when=asyncio.FIRST_COMPLETED)
    (work if work.done() else other).result()
    return work.done()


async def _hung(engine: DockerEngine) -> None:
    """Returns when the engine hangs."""
    while True:
        try:
            await engine.ping(HUNG_SECONDS)
            if engine.stalled() > STALLED_SECONDS:
                return
        except EngineTimeout:
            return
        except EngineError:
            pass  # one that refuses does not keep anybody waiting
        await asyncio.sleep(LOOK_SECONDS)


async def _given_up(tasks: Tasks) -> None:
    """Cancels tasks; those that clean up get CANCEL_SECONDS."""
    tasks.hurry(CANCEL_SECONDS)
    await tasks.stop()
