"""One server in production's way and one nginx before it, for all tests of this folder."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.harness import Server, running_server
from tests.nginx.front import NAME, Front, running_nginx
from tests.nginx.silence import Silence

FIRST, LAST = "test_a_session_falls_silent", "test_it_answers_after_ninety_seconds"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The silence begins before all other tests, of whatever folder, and is listened to after them: so the
    whole run takes no longer for it."""
    items.sort(key=lambda item: {FIRST: 0, LAST: 2}.get(item.name, 1))


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with production's settings, behind a proxy that it trusts, with one session an address."""
    with running_server(
        tmp_path_factory.mktemp("production"),
        APP_ENV="production",
        ANONYMOUS="yes",
        ADMIN_KEY=secrets.token_hex(32),
        ALLOWED_HOSTS=f"{NAME},127.0.0.1",
        TRUSTED_PROXIES="127.0.0.1",
        SESSIONS_PER_ADDRESS="1",
        LANGUAGES="python",
        WARM_MAX="2",
    ) as one:
        yield one


@pytest.fixture(scope="session")
def upstream(production: Server) -> str:
    return production.url.removeprefix("http://").rstrip("/")


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory, upstream: str) -> Iterator[Front]:
    with running_nginx(tmp_path_factory.mktemp("nginx"), upstream) as one:
        yield one


@pytest.fixture(scope="session")
def prefixed(tmp_path_factory: pytest.TempPathFactory, upstream: str) -> Iterator[Front]:
    with running_nginx(tmp_path_factory.mktemp("nginx"), upstream, prefix="/code/") as one:
        yield one


@pytest.fixture(scope="session")
def address() -> Callable[[], str]:
    """An address of this machine that no other test uses: the server counts sessions by address."""
    numbers = itertools.count(1)
    return lambda: f"127.7.{secrets.randbelow(250)}.{next(numbers)}"


@pytest.fixture(scope="session")
def silence(tmp_path_factory: pytest.TempPathFactory, upstream: str) -> Iterator[Silence]:
    """With an nginx of its own, that no other test reloads."""
    with running_nginx(tmp_path_factory.mktemp("silent"), upstream) as front:
        one = Silence(front, "127.6.0.1")
        one.start()
        try:
            yield one
        finally:
            one.stop()
