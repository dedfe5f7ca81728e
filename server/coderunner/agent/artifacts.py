"""Files of a program that people want to see beside its output: which they are, and who made them."""

from __future__ import annotations

# Ending -> what it is served as.
KINDS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".svg": "image/svg+xml",
    ".csv": "text/csv",
    ".html": "text/html",
    ".htm": "text/html",
    ".pdf": "application/pdf",
}
MOST = 64  # of a channel
MAX_PATH = 512  # bytes; what has a longer one is not announced


def kind(path):
    """The type that a file's name promises, or None: no artifact."""
    dot = path.rfind(".")
    return KINDS.get(path[dot:].lower()) if dot >= 0 else None


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
        if path not in made and len(made) >= MOST:
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
