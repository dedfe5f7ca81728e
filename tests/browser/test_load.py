"""How the page comes: few files, packed, kept for ever; and a usable editor soon, also over a slow line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Route

from tests.browser.tab import Tab

SLOW = {"offline": False, "downloadThroughput": 1_500_000 / 8, "uploadThroughput": 750_000 / 8, "latency": 40}
MAX_REQUESTS = 16
MAX_BYTES = 420_000


class Wire:
    """What a page asks for, and what comes over the network."""

    def __init__(self, tab: Tab) -> None:
        self.cdp = tab.page.context.new_cdp_session(tab.page)
        self.cdp.send("Network.enable")
        self.requests: dict[str, Any] = {}
        self.cdp.on("Network.responseReceived", self._response)
        self.cdp.on("Network.loadingFinished", self._finished)
        self.bytes = 0

    def _response(self, event: dict[str, Any]) -> None:
        answer = event["response"]
        if not answer.get("fromDiskCache") and not answer.get("fromPrefetchCache"):
            self.requests[event["requestId"]] = answer

    def _finished(self, event: dict[str, Any]) -> None:
        if event["requestId"] in self.requests:
            self.bytes += event["encodedDataLength"]

    def again(self) -> None:
        self.requests.clear()
        self.bytes = 0


def header(answer: dict[str, Any], name: str) -> str:
    return next((value for key, value in answer["headers"].items() if key.lower() == name), "")


def test_the_page_comes_in_few_packed_files_that_are_kept(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(load=False)
    wire = Wire(tab)
    tab.open()
    tab.page.wait_for_selector(".cm-content")
    assert len(wire.requests) <= MAX_REQUESTS, [one["url"] for one in wire.requests.values()]
    assert wire.bytes <= MAX_BYTES
    for answer in wire.requests.values():
        path = answer["url"].split("?")[0]
        if path.endswith((".js", ".css")):
            assert "/static/dist/page/" in path, "the page's own modules are bundled, too"
            assert header(answer, "content-encoding") in ("br", "gzip"), path
            assert "immutable" in header(answer, "cache-control"), path
    tab.page.wait_for_load_state("networkidle")  # what is loaded late is kept, too
    wire.again()
    tab.page.goto("about:blank")
    tab.open()
    loaded = [one["url"] for one in wire.requests.values() if one["status"] == 200]
    assert not [url for url in loaded if url.endswith((".js", ".css"))], "nothing is asked for again"
    # The page, the languages, who is signed in, and what the browser asks of its own.
    assert len(wire.requests) <= 5, loaded


def test_over_a_slow_line_the_editor_waits_for_nothing_that_comes_late(open_tab: Callable[..., Tab]) -> None:
    """In seconds it is what the line needs for these bytes: three of one megabit and a half."""
    tab = open_tab(load=False)
    wire = Wire(tab)
    wire.cdp.send("Network.emulateNetworkConditions", SLOW)
    document = tab.page.request.get(tab.url).text()
    held: list[Route] = []

    def hold(route: Route) -> None:
        """Answers what the document names, and nothing that is loaded later."""
        if route.request.url.rsplit("/", 1)[1] in document:
            route.continue_()
        else:
            held.append(route)

    tab.page.route("**/static/dist/**/*.js", hold)
    tab.page.goto(tab.url, wait_until="commit")
    tab.page.wait_for_selector(".cm-content")
    tab.page.click(".cm-content")
    tab.type("x")
    tab.until("coderunner.editor.view.state.doc.toString().includes('x')")
    assert wire.bytes <= MAX_BYTES
    assert len(wire.requests) <= MAX_REQUESTS
    for route in held:
        route.continue_()
    tab.page.unroute("**/static/dist/**/*.js")
    tab.page.wait_for_selector("body[data-ready]")
    assert held, "a part of the page is loaded late"
