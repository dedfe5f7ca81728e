"""The followers of all sessions: attachments of clients without a WebSocket, found again by each request.

A follower ends when its client has sent no request for LINGER_SECONDS, or for SESSION_RESUME_MIN if that is
shorter. For its session this is like the loss of a socket. The last events of a session that has ended can be
fetched for as long.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from coderunner import timing
from coderunner.errors import NoSession, TooManyAttachments
from coderunner.fleet.registry import Registry
from coderunner.sessions.follower import Follower, Mark
from coderunner.sessions.session import Session
from coderunner.tasks import Tasks

LINGER_SECONDS = 30.0  # without a request; then a follower ends
MAX_FOLLOWERS = 16  # of one session
KEPT_BYTES = 32 * 1024 * 1024  # of events of all ended sessions; the oldest are dropped first
_NAME = "http:{client}"  # differs from the ids of pages, which have no colon


@dataclass(eq=False, slots=True)
class _Entry:
    follower: Follower
    users: int = 0  # requests that are under way
    timer: timing.Timer | None = None


class Followers:
    """Finds and makes followers, by session and the client's name.

    `resume`: SESSION_RESUME_MIN in seconds, for which sessions without clients are kept while others wait.
    """

    def __init__(self, registry: Registry, resume: float) -> None:
        self._linger = min(LINGER_SECONDS, resume)
        self._registry = registry
        self._all: dict[tuple[str, str], _Entry] = {}
        self._tasks = Tasks("followers")

    @contextlib.contextmanager
    def at(self, name: str, token: str, client: str, mark: Mark | None) -> Iterator[Follower]:
        """The follower whose events behind `mark` are wanted, for as long as the request takes.

        `name`, `token`: of the session. `mark`: None for the beginning. Raises NoSession, NotAllowed,
        TooManyAttachments.
        """
        entry = self._all.get((name, client))
        try:
            session = self._registry.owned(name, token)
        except NoSession:
            # Only clients that followed an ended session get its last events.
            if entry is None or not entry.follower.ending or entry.follower.session.allows(token) is None:
                raise
            if not entry.follower.continues(mark):
                raise
        else:
            if not self._serves(entry, session) or not entry.follower.continues(mark):  # type: ignore[union-attr]
                entry = self._make(session, client, mark)
        assert entry is not None
        with self._used(entry):
            yield entry.follower

    @contextlib.contextmanager
    def acting(self, name: str, token: str, client: str) -> Iterator[Follower]:
        """The follower through which this client acts, whatever events it has received. Raises as `at`."""
        session = self._registry.owned(name, token)
        entry = self._all.get((name, client))
        if not self._serves(entry, session):
            entry = self._make(session, client, None)
        assert entry is not None
        with self._used(entry):
            yield entry.follower

    @staticmethod
    def _serves(entry: _Entry | None, session: Session) -> bool:
        if entry is None or entry.follower.session is not session:
            return False
        return entry.follower.attachment.close_code is None and not entry.follower.over

    def _make(self, session: Session, client: str, mark: Mark | None) -> _Entry:
        key = (session.id, client)
        if key not in self._all and sum(name == session.id for name, _ in self._all) >= MAX_FOLLOWERS:
            raise TooManyAttachments(
                f"{MAX_FOLLOWERS} callers follow this session already",
                retry_after_ms=round(self._linger * 1000),
            )
        before = self._all.get(key)
        control = session.channels.attachments.control
        mine = before is not None and before.follower.attachment is control
        role = "control" if control is None or mine else "watch"
        follower = Follower(session, _NAME.format(client=client), role, mark)
        if before is not None:
            self._end(key, before)
        entry = self._all[key] = _Entry(follower)
        self._tasks.start(self._work(key, entry), "follower")
        return entry

    async def _work(self, key: tuple[str, str], entry: _Entry) -> None:
        try:
            await entry.follower.work()
        finally:
            entry.follower.session.detach(entry.follower.attachment)
            if not entry.follower.closed and self._all.get(key) is entry:
                self._end(key, entry)  # its client attaches again, with the id of its last event
            self._keep_bound()

    def _keep_bound(self) -> None:
        """Drops followers of ended sessions, the oldest first, until their events fit into KEPT_BYTES."""
        ended = {key: one for key, one in self._all.items() if one.follower.over}
        left = sum(one.follower.held for one in ended.values()) - KEPT_BYTES
        for key, one in ended.items():
            if left <= 0:
                return
            left -= one.follower.held
            self._end(key, one)

    @contextlib.contextmanager
    def _used(self, entry: _Entry) -> Iterator[None]:
        entry.users += 1
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        try:
            yield
        finally:
            entry.users -= 1
            key = next((key for key, one in self._all.items() if one is entry), None)
            if key is not None and not entry.users:
                entry.timer = timing.Timer(self._linger, lambda: self._end(key, entry))

    def _end(self, key: tuple[str, str], entry: _Entry) -> None:
        if self._all.get(key) is entry:
            del self._all[key]
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        follower = entry.follower
        follower.attachment.end(1001, flush=False)  # no socket is closed by it; `work` ends
        follower.session.detach(follower.attachment)


FOLLOWERS: web.AppKey[Followers] = web.AppKey("followers", Followers)
