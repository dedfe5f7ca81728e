"""What a session's programs have made that people want to see: images, tables, pages, by their channel."""

from __future__ import annotations

from collections.abc import Iterator

from coderunner.core.capability import view_url
from coderunner.core.project import check_path
from coderunner.errors import BadPath
from coderunner.schema import messages as m
from coderunner.schema.reports import ArtifactNews
from coderunner.sessions.attachments import Attachments
from coderunner.sessions.holdings import Holdings
from coderunner.wire import artifacts

MAX_ARTIFACTS = 512  # of a session; the oldest are forgotten
COST = 4096  # bytes of memory, at most, for each: its path, and its path in the address


class Artifacts:
    """``capability``: what makes the address of a file one that needs no token."""

    def __init__(self, session: str, capability: str, attachments: Attachments, holdings: Holdings) -> None:
        self._session = session
        self._capability = capability
        self._attachments = attachments
        self._all: dict[tuple[int, str], m.Artifact] = {}
        self._full: set[int] = set()
        holdings.count("artifacts", lambda: COST * len(self._all))

    def __iter__(self) -> Iterator[m.Artifact]:
        return iter(self._all.values())

    def of(self, channel: int) -> list[m.Artifact]:
        return [one for one in self if one.channel == channel]

    def add(self, channel: int, news: ArtifactNews) -> None:
        """The agent's word; what it has told before is told again when it changed."""
        if news.more:
            if channel not in self._full and len(self._full) < MAX_ARTIFACTS:
                self._full.add(channel)
                text = f"program {channel} makes more files than are shown; all are in the workspace"
                self._attachments.broadcast(m.Notice("artifact_limit", text))
            return
        name = news.path
        if len(name) > artifacts.MAX_PATH:
            return  # no honest agent tells of it
        kind = artifacts.kind(name)
        try:
            path = check_path(name)
        except BadPath:
            return  # a name that no other machine could take
        full = len(self.of(channel)) >= artifacts.MAX_PER_CHANNEL
        if kind is None or (full and (channel, path) not in self._all):
            return
        made = m.Artifact(channel, path, kind, news.size, view_url(self._session, self._capability, path))
        self._all.pop((channel, path), None)
        self._all[channel, path] = made
        while len(self._all) > MAX_ARTIFACTS:
            del self._all[next(iter(self._all))]
        self._attachments.broadcast(made)

    def empty(self) -> None:
        self._all.clear()

    def forget(self, channel: int) -> None:
        for key in [one for one in self._all if one[0] == channel]:
            del self._all[key]
        self._full.discard(channel)
