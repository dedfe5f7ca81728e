"""Sends the result of a Judge0 submission to the address that it named.

A client chooses the address, so this is protected against server-side request forgery: requests go only to
hosts that the operator allows (JUDGE0_CALLBACK_HOSTS), and only if all addresses of the name are public. A
request goes to the address that was checked, and follows no redirect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from coderunner.logs import fields
from coderunner.tasks import Tasks

log = logging.getLogger(__name__)

LONGEST = 2048  # characters of an address
# A slow host holds a place for `seconds` times `tries`; the others' callbacks must not wait for it long.
AT_ONCE = 8  # callbacks that are made at one time
WAITING = 256  # callbacks that wait for their turn; further ones are not made
PAUSE_SECONDS = 1.0  # before another try

Document = Callable[[], Awaitable[Any]]
Resolve = Callable[[str, int], Awaitable[list[str]]]


def is_public(address: str) -> bool:
    """Whether an address belongs to the internet: not private, loopback, link-local, multicast or reserved,
    nor an IPv6 form of such an IPv4 address."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        # Each of these forms reaches the IPv4 address inside it: RFC 4291, section 2.5.5.2; RFC 3056; RFC
        # 4380.
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if inner is not None:
            return is_public(str(inner))
        # RFC 6052; Python calls this whole prefix global.
        if found in ipaddress.ip_network("64:ff9b::/96"):  # NAT64
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
    # is_global follows IANA's registries of special addresses, but calls some multicast addresses global.
    return found.is_global and not found.is_multicast


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


class Pinned(AbstractResolver):
    """A resolver for one host, which returns the address that was checked."""

    def __init__(self, host: str, address: str) -> None:
        self._host, self._address = host, address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The pinned address. Raises OSError for another host."""
        if host != self._host:
            raise OSError(f"{host} was not checked")
        # aiohttp asks for the family that it prefers; only one has the checked address.
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        return [
            ResolveResult(
                hostname=host,
                host=self._address,
                port=port,
                family=family,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Does nothing: nothing is held."""


class Callbacks:
    """Makes the callbacks. `hosts`: the host names that are allowed. `tries`: attempts for each; `seconds`:
    for one attempt. `resolve`, `public`: replaced by tests, as no test has an address of the internet."""

    def __init__(
        self,
        hosts: tuple[str, ...],
        tries: int,
        seconds: float,
        resolve: Resolve = resolved,
        public: Callable[[str], bool] = is_public,
    ) -> None:
        self._hosts = hosts
        self._tries = tries
        self._seconds = seconds
        self._resolve = resolve
        self._public = public
        self._tasks = Tasks("callbacks")
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @property
    def allowed(self) -> bool:
        """Whether any host is allowed."""
        return bool(self._hosts)

    def problem(self, url: str) -> str:
        """Why callbacks to this URL are refused; "" if they are allowed."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return "is not a valid address"
        # Port 0 means "any" to the system's calls, and is none that a server has.
        if parts.scheme not in ("http", "https") or len(url) > LONGEST or port == 0:
            return "must begin with http:// or https://"
        # "http://allowed.example@other.example" is read in two ways by careless parsers.
        if parts.username is not None or parts.password is not None:
            return "must have no user and password"
        if (parts.hostname or "") not in self._hosts:
            return "is of a host that is not allowed"
        return ""

    def tell(self, url: str, document: Document) -> None:
        """Sends the result of `document` to `url` in the background. `problem(url)` must be ""."""
        if self._waiting >= WAITING:
            log.warning("callback not made", extra=fields(why="too many are waiting"))
            return
        self._waiting += 1
        self._tasks.start(self._tell(url, document), "callback")

    async def _tell(self, url: str, document: Document) -> None:
        try:
            async with self._turn:
                body = msgspec.json.encode(await document())
                for last in range(self._tries - 1, -1, -1):
                    why = await self._put(urlsplit(url), url, body)
                    if not why:
                        return
                    log.info("callback failed", extra=fields(host=urlsplit(url).hostname, why=why, left=last))
                    if last:
                        await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._waiting -= 1

    async def _put(self, parts: SplitResult, url: str, body: bytes) -> str:
        """One attempt. Returns why it failed, or "". Any answer counts, as it does for Judge0."""
        host = parts.hostname or ""
        try:
            async with asyncio.timeout(self._seconds):
                # Looked up for each attempt: the check and the request use the same answer, so DNS cannot
                # change between.
                addresses = await self._resolve(host, parts.port or 0)
                # All of them: a name with a public and a private address may be an attack.
                if not addresses or not all(self._public(one) for one in addresses):
                    return "the host has an address that is not of the internet"
                # A connector of its own: a pooled connection could lead to an address that was checked for
                # another host.
                connector = aiohttp.TCPConnector(resolver=Pinned(host, addresses[0]), use_dns_cache=False)
                async with (
                    # trust_env: a proxy from the environment would look up the host itself.
                    aiohttp.ClientSession(connector=connector, trust_env=False) as session,
                    session.put(
                        url, data=body, headers={"Content-Type": "application/json"}, allow_redirects=False
                    ),
                ):
                    return ""
        except (OSError, aiohttp.ClientError, ValueError) as error:  # TimeoutError is an OSError
            return type(error).__name__

    async def close(self) -> None:
        """Cancels all callbacks that are waiting or under way."""
        await self._tasks.stop()


CALLBACKS: web.AppKey[Callbacks] = web.AppKey("callbacks", Callbacks)
