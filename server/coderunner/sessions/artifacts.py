"""Artifacts of a session's programs: images, tables and pages, by their channel."""

from __future__ import annotations

from collections.abc import Iterator

from coderunner.core.project import check_path
from coderunner.errors import BadPath
from coderunner.schema import messages as m
from coderunner.schema.reports import ArtifactNews
from coderunner.sessions.attachments import Attachments
from coderunner.sessions.holdings import Holdings
from coderunner.sessions.views import Views
from coderunner.wire import artifacts

MAX_ARTIFACTS = 512  # of a session; the oldest are dropped
COST = 4096  # bytes of memory of each, at most


class Artifacts:
    """The artifacts of a session, oldest first; iterating makes a message for each, with a new address.

    ``views``: makes the addresses.  ``attachments``: get messages about new artifacts.  ``holdings``:
    counts the memory.
    """

    def __init__(self, views: Views, attachments: Attachments, holdings: Holdings) -> None:
        self._views = views
        self._attachments = attachments
        self._all: dict[tuple[int, str], tuple[str, int]] = {}  # type and size, by channel and path
        self._full: set[int] = set()  # channels with more artifacts than are shown
        # The table's entries only: the addresses are made when they are sent.
        holdings.count("artifacts", lambda: COST * len(self._all))

    def __iter__(self) -> Iterator[m.Artifact]:
        # A copy: a message may be the last straw that ends an attachment, which changes what is iterated.
        for (channel, path), (kind, size) in list(self._all.items()):
            yield self._artifact(channel, path, kind, size)

    def of(self, channel: int) -> list[m.Artifact]:
        """The artifacts of one channel, oldest first."""
        return [one for one in self if one.channel == channel]

    def _count(self, channel: int) -> int:
        return sum(number == channel for number, _ in self._all)

    def _artifact(self, channel: int, path: str, kind: str, size: int) -> m.Artifact:
        return m.Artifact(channel, path, kind, size, self._views.url(path, kind))

    def add(self, channel: int, news: ArtifactNews) -> None:
        """The agent reports an artifact, for the first time or because it has changed: all clients are
        told."""
        if news.more:
            # `_full` is bounded, too: channel numbers come from the agent, which is not trusted.
            if channel not in self._full and len(self._full) < MAX_ARTIFACTS:
                self._full.add(channel)
                text = f"program {channel} makes more files than are shown; all are in the workspace"
                self._attachments.broadcast(m.Notice("artifact_limit", text))
            return
        name = news.path
        if len(name) > artifacts.MAX_PATH:
            return  # no genuine agent reports it
        kind = artifacts.kind(name)
        try:
            path = check_path(name)
        except BadPath:
            return  # a path that not every machine can have: it cannot be downloaded
        full = self._count(channel) >= artifacts.MAX_PER_CHANNEL
        if kind is None or (full and (channel, path) not in self._all):
            return
        # Moved to the end: the oldest are dropped, and this one is the newest now.
        self._all.pop((channel, path), None)
        self._all[channel, path] = kind, news.size
        while len(self._all) > MAX_ARTIFACTS:
            del self._all[next(iter(self._all))]
        self._attachments.broadcast(self._artifact(channel, path, kind, news.size))

    def empty(self) -> None:
        """Drops all of them, as the session has ended."""
        self._all.clear()

    def forget(self, channel: int) -> None:
        """Drops a channel's artifacts, as the channel was removed."""
        for key in [one for one in self._all if one[0] == channel]:
            del self._all[key]
        self._full.discard(channel)
