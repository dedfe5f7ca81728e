"""Which server a command uses, and with which key: a key is sent to the server that it was given for."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from coderunner.client.kept import Login
from coderunner.schema.forms import UNIX

PORTS = {"http": 80, "https": 443}


class Chosen(NamedTuple):
    """A server and a key; both may be "". `warning`: what the user has to know of them, or ""."""

    url: str
    bearer: str
    warning: str = ""


def chosen(url: str, bearer: str, environment: Mapping[str, str], login: Login | None) -> Chosen:
    """What a command uses. `url` and `bearer`: as they were typed, or ""; `login`: what `login` has kept.

    A key that was typed is for the server of this command. CODERUNNER_KEY is for that of CODERUNNER_URL or,
    without one, of `login`: another server that is named does not get it. Where neither names one, it is for
    the server of the command.
    """
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


def same(one: str, other: str) -> bool:
    """Whether two addresses are of one server: the same scheme, host, port and path."""
    return _parts(one) == _parts(other)


def readable(url: str) -> bool:
    """Whether others on the way can read what is sent to an address: plain HTTP to another machine. True for
    what is no address."""
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
    """An address without user and password, which are not to be shown."""
    before, _, rest = url.rpartition("@")
    return f"{before.partition('//')[0]}//{rest}" if before else url


def _parts(url: str) -> tuple[str, ...]:
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:  # no address
        return (url,)
    return (parts.scheme, parts.hostname or "", str(port), parts.username or "", parts.path.rstrip("/"))
