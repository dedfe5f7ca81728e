"""Chooses the server of a command and its key. A key is sent only to the server that it was given for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from coderunner.client.kept import Login
from coderunner.client.refused import is_text
from coderunner.schema.forms import UNIX

PORTS = {"http": 80, "https": 443}


class Chosen(NamedTuple):
    """A server's address and a key; both may be "". `warning`: a text for the user, or ""."""

    url: str
    bearer: str
    warning: str = ""


def chosen(url: str, bearer: str, environment: Mapping[str, str], login: Login | None) -> Chosen:
    """The server and the key of a command. `url`, `bearer`: as they were typed, or "". `login`: what
    `coderunner login` has stored. A typed key is for the server of this command. CODERUNNER_KEY is for that
    of CODERUNNER_URL or, without one, of `login`: another server that is named does not get it. Where neither
    names one, it is for the server of the command."""
    configured = environment.get("CODERUNNER_URL", "") or (login.url if login else "")
    key = environment.get("CODERUNNER_KEY", "")
    target = url or configured
    if bearer:
        return Chosen(target, bearer)
    if key and (not configured or same(target, configured)):
        return Chosen(target, key)
    if login is not None and same(target, login.url):
        return Chosen(target, login.bearer)
    if key:
        told = f"CODERUNNER_KEY is not sent to {_shown(target)}: it is for {_shown(configured)}"
        return Chosen(target, "", f"{told} (--bearer names another key)")
    return Chosen(target, "")


def unusable(url: str, bearer: str, words: Iterable[str] = ()) -> str:
    """Why nothing can be done with this address, this key and these words; "" if it can."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f"{_shown(url)} cannot be a server's address: {error}"
    if not url.startswith(UNIX) and (parts.scheme not in PORTS or not parts.hostname):
        return "the server's address is to begin with http://, https:// or unix:"
    if "@" in parts.netloc:  # not told again: it may be a password
        return "the server's address is to have no user and password; --bearer gives the credential"
    if not (bearer.isascii() and bearer.isprintable()):
        return "the key has characters that no key has: line breaks, or others than ASCII's"
    for word in (url, *words):
        if not is_text(word):
            return f"{word!r} is not UTF-8, and cannot be sent"
    return ""


def same(one: str, other: str) -> bool:
    """Whether two addresses name one server: the same scheme, host, port, user and path."""
    return _parts(one) == _parts(other)


def readable(url: str) -> bool:
    """Whether others on the network can read what is sent to an address: plain HTTP to another machine. True
    for a text that is no address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    if url.startswith(UNIX) or parts.scheme == "https":
        return False
    host = parts.hostname or ""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _shown(url: str) -> str:
    """An address without its user and password, for messages."""
    before, _, rest = url.rpartition("@")
    return f"{before.partition('//')[0]}//{rest}" if before else url


def _parts(url: str) -> tuple[str, ...]:
    """The parts of an address by which servers are compared. A text that is no address equals only itself."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:  # no address
        return (url,)
    return (parts.scheme, parts.hostname or "", str(port), parts.username or "", parts.path.rstrip("/"))
