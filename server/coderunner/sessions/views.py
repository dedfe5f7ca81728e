"""Capability URLs for a session's files, and how long each is valid.

A URL is valid for some minutes. A client with the session's token can keep one valid that is in use. Which
are kept is only known to this server, so after a restart clients keep them again.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from urllib.parse import unquote

from coderunner.core.capability import Capability, grant, read, view_url
from coderunner.sessions.holdings import Holdings

SECONDS = 300.0  # that a URL is valid
MAX_ADDRESSES = 1024  # URLs that are kept valid
COST = 256  # bytes of memory of each URL and each word, at most
MAX_WORDS = 64
WORD_SECONDS = 30.0  # that a word is valid: from the loading of a page to that of the frame in it
_URL = re.compile(r"view/([^/]+)/([^/]+)/([^?#]+)")


class Views:
    """The URLs of one session.

    ``key``: the instance's secret.  ``seconds``: how long a URL is valid, and again when it is kept.
    ``now()``: seconds since 1970, which all servers of an instance share."""

    def __init__(
        self,
        key: bytes,
        session: str,
        holdings: Holdings,
        seconds: float = SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._session = session
        self.seconds = seconds
        self._now = now
        self._kept: dict[str, float] = {}  # until when, the soonest first
        self._words: dict[str, float] = {}
        holdings.count("views", lambda: COST * (len(self._kept) + len(self._words)))

    def url(self, path: str, kind: str) -> str:
        """A new URL for a file.  ``kind``: its media type; an HTML page may also load what lies beside it."""
        capability = grant(self._key, self._session, path, self._now(), page=kind == "text/html")
        return view_url(self._session, capability, path)

    def good(self, text: str, capability: Capability) -> bool:
        """Whether the URL with this capability, whose text is ``text``, is valid now."""
        now = self._now()
        # `abs`, as one made while the clock was far ahead must not be valid for long.
        return abs(now - capability.given) < self.seconds or self._kept.get(text, 0.0) > now

    def keep(self, url: str) -> bool:
        """Keeps a URL valid, also one that is not valid any more.  False for one that was never made."""
        found = _URL.fullmatch(url)
        if found is None or found[1] != self._session:
            return False
        text = found[2]
        if read(self._key, self._session, text, unquote(found[3])) is None:
            return False
        self._kept.pop(text, None)
        self._kept[text] = self._now() + self.seconds
        while len(self._kept) > MAX_ADDRESSES:
            del self._kept[next(iter(self._kept))]
        return True

    def word(self) -> str:
        """A random word with which a frame of the page can load an HTML file, once."""
        word = secrets.token_urlsafe(16)
        self._words[word] = self._now() + WORD_SECONDS
        while len(self._words) > MAX_WORDS:
            del self._words[next(iter(self._words))]
        return word

    def use_word(self, word: str) -> bool:
        """Whether this word was made within WORD_SECONDS and not used before."""
        return self._words.pop(word, 0.0) > self._now()

    def empty(self) -> None:
        """Makes all URLs invalid, as the session has ended."""
        self._kept.clear()
        self._words.clear()
