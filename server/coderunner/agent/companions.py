"""The language's service and preload, together, for the event loop."""

from __future__ import annotations

import os

from .lean import signal
from .preload import Preload
from .service import Service

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from coderunner.wire import typed

    from .channel import Channel
    from .preload import Forked

# Until the preload starts where a user waits: a session that only runs one program is over by then, and
# another's next program comes later. Its start costs as much processor time as the agent's own.
PRELOAD_DELAY = 2.0


class Companions:
    """Starts and watches the service and the preload.

    ``reply(id, answer)``: called when what ``prepare`` asked for is ready, or was not ready in time.
    ``forked``: a preload that is there already, for `prepare` to take over.
    ``preload``: None before `prepare`, and without one in the language."""

    def __init__(
        self, reply: Callable[[Any, Mapping[str, object]], None], forked: Forked | None = None
    ) -> None:
        self.preload: Preload | None = None
        self._service: Service | None = None
        self._reply = reply
        self._forked = forked  # until it is taken over, or has ended
        self._waiting: list[tuple[Any, bool]] = []  # (id of a call, whether it also waits for the preload)

    def _all(self) -> list[Service]:
        return [one for one in (self._service, self.preload) if one is not None]

    def prepare(
        self,
        number: Any,
        service: typed.ServiceSpec | None,
        preload: typed.PreloadSpec | None,
        now: float,
        *,
        wait_for_preload: bool = True,
    ) -> None:
        """Starts those that were not started yet, however often it is called.

        ``number``: id of the call to answer.  ``service``, ``preload``: their specs, or None.
        ``wait_for_preload``: False when a user is waiting: then the preload starts after PRELOAD_DELAY, and
        programs start without it until it is ready.
        """
        if service and self._service is None:
            self._service = Service(service, now)
        if preload and self.preload is None:
            self.preload = Preload(preload, now if wait_for_preload else now + PRELOAD_DELAY)
            if self._forked is not None and self.preload.take_over(self._forked, now):
                self._forked = None
            self._drop_forked()
        self._waiting.append((number, wait_for_preload))

    def _drop_forked(self, *, ended: bool = False) -> None:
        """Kills the preload that is there and not taken over, if there is one.  ``ended``: it is dead."""
        if self._forked is not None:
            pid, ear, out = self._forked
            self._forked = None
            if not ended:
                os.kill(pid, signal.SIGKILL)
            ear.close()
            os.close(out)

    def retire(self, now: float) -> None:
        """Ends the preload for good: each program then starts in a new interpreter."""
        self._drop_forked()
        if self.preload is not None:
            preload, self.preload = self.preload, None
            preload.fail()
            preload.died(now)

    def forget_calls(self) -> None:
        """The server is gone that waits for answers."""
        self._waiting.clear()

    def pids(self) -> list[int | None]:
        """Process ids of the service and the preload; None for one that does not run."""
        return [one.pid for one in self._all()] + ([self._forked[0]] if self._forked is not None else [])

    # --- the loop's turn ---------------------------------------------------------------------------

    def tick(self, channels: list[Channel], now: float) -> list[float]:
        """Starts what is due, answers calls, and gives up a preload that does not answer a channel in time.

        Returns the moments at which it has to be called again."""
        moments = [one.tick(now) for one in self._all()]
        moments += [one.log_due for one in self._all() if one.out >= 0 and one.log_due > now]
        if self._answer(now):
            moments.append(now)  # so that the loop writes the answer before it sleeps
        for channel in channels:
            if channel.answer_due is None:
                continue
            if self.preload is not None and now >= channel.answer_due:
                # A preload that hangs must not delay a program: the supervisor is forked here instead.
                self.preload.fail()
            if self.preload is None or not self.preload.usable:
                channel.preloaded(None)
            else:
                moments.append(channel.answer_due)
        return [when for when in moments if when is not None]

    def _answer(self, now: float) -> bool:
        """Answers the calls whose service and preload are ready or late; returns whether there was one.

        Without its service a language does not work, which is an error.  Without its preload it is slower,
        which is only reported.
        """
        done = []
        for number, both in self._waiting:
            awaited = self._all() if both else [self._service] if self._service is not None else []
            if all(one.ready or one.problem(now) for one in awaited):
                done.append((number, both))
        for number, both in done:
            self._waiting.remove((number, both))
            problem = self._service.problem(now) if self._service is not None else None
            if problem:
                self._reply(number, {"error": {"code": "start_failed", "message": problem}})
            else:
                self._reply(number, {"preload": self.preload.problem(now) if self.preload else None})
        return bool(done)

    def descriptors(self, now: float) -> dict[int, Any]:
        """{descriptor to be polled: process id}; a restarted one may get the same descriptor number."""
        wanted = {one.out: one.pid for one in self._all() if one.wants_log(now)}
        answers = self.preload.descriptor() if self.preload is not None else None
        if self.preload is not None and answers is not None:
            wanted[answers] = self.preload.pid
        return wanted

    def read(self, descriptor: int, channels: dict[int, Channel]) -> bool:
        """Handles a readable descriptor; False when it belongs to neither.  ``channels``: by number."""
        for one in self._all():
            if descriptor == one.out:
                one.read_log()
                return True
        if self.preload is None or descriptor != self.preload.descriptor():
            return False
        for number, pid in self.preload.answers():
            if number in channels:
                channels[number].preloaded(pid)
        return True

    def reaped(self, pid: int, now: float) -> None:
        """A child of this process has ended; ``pid`` may be another one's."""
        if self._forked is not None and self._forked[0] == pid:
            self._drop_forked(ended=True)
        for one in self._all():
            if one.pid == pid:
                one.died(now)
