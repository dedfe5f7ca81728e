"""Real Chromium against the real server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.proxy import CuttingProxy
from tests.browser.tab import Tab
from tests.harness import Server

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # As Chromium 152 has it by default: what a program's page may connect to.
    "--enable-features=ConnectionAllowlists,OverrideConnectionAllowlistOriginTrial",
    "--host-resolver-rules=MAP code.test 127.0.0.1",  # a name that a browser does not trust without TLS
)  # fmt: skip


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path is not None, "these tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_tab(browser: Browser, server: Server) -> Iterator[Callable[..., Tab]]:
    """Opens tabs, each in a browser profile of its own unless ``beside`` another.

    At the end their sessions are closed, and their consoles were clean.
    """
    tabs: list[Tab] = []

    def open_one(
        url: str | None = None, *, beside: Tab | None = None, load: bool = True, **options: Any
    ) -> Tab:
        if beside is None:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
            context.grant_permissions(["clipboard-read", "clipboard-write"])
        else:
            context = beside.page.context
        tab = Tab(context.new_page(), url or server.url)
        tabs.append(tab)
        return tab.open() if load else tab

    yield open_one
    for tab in tabs:
        tab.check()
        # What the page asks for while its session ends is not there any more; the browser tells of it.
        tab.allowed.append(r"status of (404|503) .*/api/sessions/")
        if not tab.page.is_closed():
            tab.get("window.coderunner?.desk.end()")
    for context in {tab.page.context for tab in tabs}:
        context.close()
    for tab in tabs:
        tab.check()


@pytest.fixture
def tab(open_tab: Callable[..., Tab]) -> Tab:
    """The page, with a Python project."""
    return open_tab().language("Python")


@pytest.fixture
def proxy(server: Server) -> Iterator[CuttingProxy]:
    with CuttingProxy(server.url) as one:
        yield one


@pytest.fixture
def cut_tab(proxy: CuttingProxy, open_tab: Callable[..., Tab]) -> Tab:
    """A page whose network runs through ``proxy``."""
    tab = open_tab(proxy.url).language("Python")
    tab.allowed.append("WebSocket connection to .* failed|ERR_")  # the browser itself tells of each
    return tab
