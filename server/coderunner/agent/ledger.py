"""The artifacts of each channel, and which of them were not reported to the server yet."""

from __future__ import annotations

from coderunner.wire.artifacts import MAX_PATH, MAX_PER_CHANNEL

TYPE_CHECKING = False  # as of the typing module, which costs each container a megabyte
if TYPE_CHECKING:
    from coderunner.wire import typed


class Ledger:
    """The artifacts of each channel, and which of them were not reported to the server yet."""

    def __init__(self) -> None:
        self._made: dict[int, dict[str, int]] = {}  # channel -> {path: size}
        self._full: set[int] = set()  # channels with more artifacts than are reported
        # A dict for its order: (channel, path; None for "there are more").
        self._news: dict[tuple[int, str | None], None] = {}

    def add(self, channel: int, path: str, size: int) -> None:
        """A program of ``channel`` has made a file of ``size`` bytes.

        Beyond MAX_PER_CHANNEL files, only the fact is reported that there are more."""
        if len(path.encode("utf-8", "replace")) > MAX_PATH:
            return
        made = self._made.setdefault(channel, {})
        if path not in made and len(made) >= MAX_PER_CHANNEL:
            if channel not in self._full:
                self._full.add(channel)
                self._news[channel, None] = None
            return
        made[path] = size
        # Moved to the end of the queue, with the latest size; an earlier report was not sent yet.
        self._news.pop((channel, path), None)
        self._news[channel, path] = None

    def repeat(self) -> None:
        """Marks everything as not reported, for a server that has attached."""
        self._news = {(channel, path): None for channel, made in self._made.items() for path in made}
        self._news.update({(channel, None): None for channel in self._full})

    def forget(self, channel: int) -> None:
        """The channel was removed, and its artifacts with it."""
        self._made.pop(channel, None)
        self._full.discard(channel)
        self._news = {key: None for key in self._news if key[0] != channel}

    def __bool__(self) -> bool:
        """Whether something is not reported yet."""
        return bool(self._news)

    def next(self, limit: int) -> list[tuple[int, typed.ArtifactNews]]:
        """The next reports, at most ``limit``: [(channel, {path, size} or {more})]."""
        found: list[tuple[int, typed.ArtifactNews]] = []
        for channel, path in list(self._news)[:limit]:
            del self._news[channel, path]
            if path is None:
                found.append((channel, {"more": True}))
            else:
                found.append((channel, {"path": path, "size": self._made[channel][path]}))
        return found
