"""The page as a browser has it through nginx: over HTTP/2, below a prefix, its socket beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.nginx.front import NAME, Front

LOADED = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter((one) => one.name.startsWith('http')).map((one) => [one.name, one.nextHopProtocol])"""


def browser_program() -> str:
    for name in ("chromium", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise AssertionError("no Chromium here; as root: apt-get install --no-install-recommends chromium")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_program(),
            args=["--no-sandbox", f"--host-resolver-rules=MAP {NAME} 127.0.0.1"],
        )
        try:
            yield browser.new_context(ignore_https_errors=True).new_page()
        finally:
            browser.close()


def test_the_page_runs_a_program_over_http2_below_a_prefix(page: Page, prefixed: Front) -> None:
    refused, sockets = [], []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(prefixed.url)
    page.locator("#run").click()
    page.locator("#program .xterm").wait_for(timeout=20_000)
    page.wait_for_function("document.querySelector('#program').innerText.trim() !== ''", timeout=20_000)
    loaded = dict(page.evaluate(LOADED))
    assert prefixed.url in loaded
    assert any("/static/dist/page/" in url for url in loaded)
    assert set(loaded.values()) == {"h2"}, loaded
    assert all(url.startswith(prefixed.url) for url in loaded)
    assert sockets[0] == prefixed.url.replace("https:", "wss:") + "ws"
    assert refused == []
