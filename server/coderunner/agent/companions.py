"""The language's service and preload, as the event loop drives them."""

from __future__ import annotations

from .preload import Preload
from .service import Service

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .channel import Channel


class Companions:
    """``reply(id, answer)`` is called when what ``prepare`` asked for is ready, or is not in its time."""

    def __init__(self, reply: Callable[[Any, dict[str, Any]], None]) -> None:
        self.preload: Preload | None = None
        self._service: Service | None = None
        self._reply = reply
        self._waiting: list[tuple[Any, bool]] = []  # (id of a call, whether it waits for the preload, too)

    def _all(self) -> list[Service]:
        return [one for one in (self._service, self.preload) if one is not None]

    def prepare(
        self,
        number: Any,
        service: dict[str, Any] | None,
        preload: dict[str, Any] | None,
        now: float,
        *,
        patient: bool = True,
    ) -> None:
        """Begin what has not begun; each is started once, however often this is asked.

        Who is not ``patient`` has a user waiting: programs start plainly until the preload is there.
        """
        if service and self._service is None:
            self._service = Service(service, now)
        if preload and self.preload is None:
            self.preload = Preload(preload, now)
        self._waiting.append((number, patient))

    def retire(self, now: float) -> None:
        """Ends the preload for good: each program is then begun anew."""
        if self.preload is not None:
            preload, self.preload = self.preload, None
            preload.fail()
            preload.died(now)

    def forget_calls(self) -> None:
        """Their server is gone."""
        self._waiting.clear()

    def pids(self) -> list[int | None]:
        """Process ids of those that run."""
        return [one.pid for one in self._all()]

    # --- the loop's turn ---------------------------------------------------------------------------

    def tend(self, channels: list[Channel], now: float) -> list[float]:
        """Start, look, and settle what waits; moments at which to do it again."""
        moments = [one.tick(now) for one in self._all()]
        moments += [one.log_due for one in self._all() if one.out >= 0 and one.log_due > now]
        if self._answer(now):
            moments.append(now)  # written before the loop sleeps
        for channel in channels:
            if channel.answer_due is None:
                continue
            if self.preload is not None and now >= channel.answer_due:
                self.preload.fail()
            if self.preload is None or not self.preload.usable:
                channel.preloaded(None)
            else:
                moments.append(channel.answer_due)
        return [when for when in moments if when is not None]

    def _answer(self, now: float) -> bool:
        """Who has waited long enough; whether anybody has.

        A service is needed; without its preload a language is only slower, which is told.
        """
        done = []
        for number, patient in self._waiting:
            awaited = self._all() if patient else [self._service] if self._service is not None else []
            if all(one.ready or one.problem(now) for one in awaited):
                done.append((number, patient))
        for number, patient in done:
            self._waiting.remove((number, patient))
            problem = self._service.problem(now) if self._service is not None else None
            if problem:
                self._reply(number, {"error": {"code": "start_failed", "message": problem}})
            else:
                self._reply(number, {"preload": self.preload.problem(now) if self.preload else None})
        return bool(done)

    def descriptors(self, now: float) -> dict[int, Any]:
        """{descriptor to be read: its owner, whose next one may have the same number}"""
        wanted = {one.out: one.pid for one in self._all() if one.wants_log(now)}
        answers = self.preload.descriptor() if self.preload is not None else None
        if self.preload is not None and answers is not None:
            wanted[answers] = self.preload.pid
        return wanted

    def read(self, descriptor: int, channels: dict[int, Channel]) -> bool:
        """Whether this descriptor is of one of them; ``channels`` by their numbers."""
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
        """A child of ours has ended; ``pid`` may be anybody's."""
        for one in self._all():
            if one.pid == pid:
                one.died(now)
