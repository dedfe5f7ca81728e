"""Addresses of a session's files that need no token: how long each is good, and for what.

An address ends some minutes after it was given. Who has the session's token, as the page has, can keep one
that is in use; that is known to this server only, so that after a restart it is kept anew.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from urllib.parse import unquote

from coderunner.core.capability import Capability, grant, read, view_url
from coderunner.sessions.holdings import Holdings

SECONDS = 300.0
MAX_ADDRESSES = 1024  # addresses that are kept
COST = 256  # bytes of memory, at most, for each, and for each word
MAX_WORDS = 64
WORD_SECONDS = 30.0  # from the page of ours to the frame in it
_URL = re.compile(r"view/([^/]+)/([^/]+)/([^?#]+)")


class Views:
    """``key``: the instance's secret.  ``seconds``: how long an address is good, and a kept one once more.
    ``now``: the time of day, which all servers of an instance share."""

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
        """A new address of a file of this type."""
        capability = grant(self._key, self._session, path, self._now(), page=kind == "text/html")
        return view_url(self._session, capability, path)

    def good(self, text: str, capability: Capability) -> bool:
        """Whether what was granted with this text is good now."""
        now = self._now()
        # Neither is one good that a clock which was far ahead has given.
        return abs(now - capability.given) < self.seconds or self._kept.get(text, 0.0) > now

    def keep(self, url: str) -> bool:
        """Keeps an address that was once given, also one that has ended.  False for one that never was."""
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
        """With which a frame of ours asks for a page, once."""
        word = secrets.token_urlsafe(16)
        self._words[word] = self._now() + WORD_SECONDS
        while len(self._words) > MAX_WORDS:
            del self._words[next(iter(self._words))]
        return word

    def use_word(self, word: str) -> bool:
        """Whether this word was given a moment ago, and not used yet."""
        return self._words.pop(word, 0.0) > self._now()

    def empty(self) -> None:
        """The session is over: no address leads to it any more."""
        self._kept.clear()
        self._words.clear()
