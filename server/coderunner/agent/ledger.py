"""What each channel has made, and what of it the server has not been told yet."""

from __future__ import annotations

from coderunner.wire.artifacts import MAX_PATH, MAX_PER_CHANNEL


class Ledger:
    """What each channel has made, and what of it the server has not been told yet."""

    def __init__(self):
        self._made = {}  # channel -> {path: size}
        self._full = set()
        self._news = {}  # (channel, path or None for "there are more") in order

    def add(self, channel, path, size):
        if len(path.encode("utf-8", "replace")) > MAX_PATH:
            return
        made = self._made.setdefault(channel, {})
        if path not in made and len(made) >= MAX_PER_CHANNEL:
            if channel not in self._full:
                self._full.add(channel)
                self._news[channel, None] = None
            return
        made[path] = size
        self._news.pop((channel, path), None)
        self._news[channel, path] = None

    def repeat(self):
        """Everything is news to a server that attaches."""
        self._news = {(channel, path): None for channel, made in self._made.items() for path in made}
        self._news.update({(channel, None): None for channel in self._full})

    def forget(self, channel):
        self._made.pop(channel, None)
        self._full.discard(channel)
        self._news = {key: None for key in self._news if key[0] != channel}

    def __bool__(self):
        """Whether there is news."""
        return bool(self._news)

    def next(self, most):
        """[(channel, {path, size} or {more})], at most so many."""
        found = []
        for channel, path in list(self._news)[:most]:
            del self._news[channel, path]
            told = {"more": True} if path is None else {"path": path, "size": self._made[channel][path]}
            found.append((channel, told))
        return found
