"""A browser's cookies, for tests of sign-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest


def browser() -> aiohttp.ClientSession:
    """A client that keeps cookies, also for IP addresses of this machine."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with browser() as one:
        yield one
