"""What is seen on screens of all sizes: nothing is cut off, nothing is too small to be touched."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.tab import Tab

TOUCH = {"has_touch": True, "is_mobile": True}
CUT_OFF = """() => [...document.querySelectorAll('.bar button, .views button, .tab .icon-button')]
    .filter((one) => one.checkVisibility({ visibilityProperty: true }))
    .map((one) => [one.id || one.ariaLabel || one.textContent.trim(), one.getBoundingClientRect()])
    .filter(([, box]) => box.left < 0 || box.right > innerWidth + 0.5).map(([name]) => name)"""
LONG = "document.getElementById('language-name').textContent = 'A language of a long name (science)'"


def test_the_bar_is_whole_at_every_width(tab: Tab) -> None:
    tab.get(LONG)
    for width in (761, 780, 800, 830, 855, 900, 901, 1000, 1280):
        tab.page.set_viewport_size({"width": width, "height": 700})
        tab.shows(CUT_OFF, [], why=f"{width} pixels")
        tab.until(f"document.documentElement.scrollWidth <= {width}")


@pytest.mark.parametrize(("width", "height"), [(320, 568), (390, 760), (667, 375), (844, 390)])
def test_a_phone_either_way_round(open_tab: Callable[..., Tab], width: int, height: int) -> None:
    tab = open_tab(viewport={"width": width, "height": height}, **TOUCH).language("Python")
    page = tab.page
    tab.shows(CUT_OFF, [])
    tab.shows("document.documentElement.scrollWidth", width)
    name = "document.getElementById('language-name')"
    tab.until(f"{name}.scrollWidth <= {name}.clientWidth + 1")
    close = page.locator("#tabs .icon-button").first.bounding_box()
    assert close
    assert close["width"] >= 38
    assert close["height"] >= 38
    room = page.locator(".editor").bounding_box()
    views = page.locator(".views").bounding_box()
    assert room
    assert views
    assert abs(room["y"] + room["height"] - views["y"]) < 2, "the code has all the room"
    tab.run("print('typed', input())\n")
    tab.until("coderunner.screens.program.channel?.phase === 'running'")
    expect(page.locator("#keys")).to_be_visible()
    page.tap("#keys >> text='|'")
    page.keyboard.press("Enter")
    tab.ended("Finished")
    assert "typed |" in tab.text()
    # Nothing is typed into a program that has ended: the keyboard goes, and the other views can be reached.
    page.tap('.views [data-view="files"]')
    expect(page.locator("#tree")).to_be_visible()


def test_a_narrow_window_with_a_mouse_has_no_bar_of_keys(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(viewport={"width": 600, "height": 800})
    for view in ("code", "program", "shell"):
        tab.page.click(f".views [data-view={view}]")
        tab.until(f"document.body.dataset.view === '{view}'")
        expect(tab.page.locator("#keys")).to_be_hidden()
        expect(tab.page.locator("#code-keys")).to_be_hidden()


def test_a_tablet_has_the_keys_while_a_terminal_is_typed_into(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(viewport={"width": 1180, "height": 820}, **TOUCH).language("Python")
    page = tab.page
    expect(page.locator("#keys")).to_be_hidden()
    tab.run("print('typed', input())\n")
    tab.until("coderunner.screens.program.channel?.phase === 'running'")
    page.tap("#keys >> text='~'")
    page.keyboard.press("Enter")
    tab.ended("Finished")
    assert "typed ~" in tab.text()
    page.tap(".cm-content")
    expect(page.locator("#keys")).to_be_hidden()
    expect(page.locator("#code-keys")).to_be_visible()
    tab.get("coderunner.desk.project.create('long' + 'x'.repeat(150) + '.txt')")
    page.wait_for_selector(".tab:nth-child(2)")
    close = page.locator(".tab .icon-button").last.bounding_box()
    assert close is not None
    assert close["x"] + close["width"] <= 700, "it is beside a long name, too"
    assert min(close["width"], close["height"]) >= 36, "a finger hits it"


ALL_AT_ONCE = (
    "open('table.csv', 'w').write('a,b\\n1,2\\n')\n"
    "for number in range(40): print('line', number)\nprint(nope)\n"
)


def test_a_low_pane_shows_its_parts_as_tabs_with_counts(open_tab: Callable[..., Tab]) -> None:
    """An error, a file and the shell at 768 pixels: what the program said has the room."""
    tab = open_tab(viewport={"width": 768, "height": 700}).language("Python")
    page = tab.page
    tab.shell()
    tab.run(ALL_AT_ONCE)
    tab.ended("Ended with exit code 1")
    page.wait_for_selector("#program-parts", state="visible")
    page.wait_for_selector("#part-files", state="visible")
    tab.shows("coderunner.screens.program.view.term.rows", lambda now: now >= 10)
    tab.shows(CUT_OFF, [])
    tabs = page.locator("#program-parts [role=tab]")
    expect(tabs).to_have_text([re.compile(one) for one in (r"^Output$", r"^Problems\s*1$", r"^Files\s*1$")])
    expect(page.locator("#problems-list")).to_be_hidden()
    expect(page.locator("#artifacts-list")).to_be_hidden()
    parts = page.locator("#program-parts").bounding_box()
    clear = page.locator("#clear-program").bounding_box()
    assert parts
    assert clear
    tab.shows("document.getElementById('program-parts').scrollWidth", lambda now: now <= parts["width"] + 1)
    assert parts["x"] + parts["width"] <= clear["x"]
    page.click("#part-problems")
    expect(page.locator("#problems-list .problem-row")).to_be_visible()
    expect(page.locator("#program-term")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#artifacts-list .card")).to_be_visible()
    tab.shows("document.activeElement.id", "part-files")
    page.keyboard.press("Home")
    expect(page.locator("#program-term")).to_be_visible()
    page.click("#part-problems")
    tab.run()
    expect(page.locator("#program-term"), "a run shows its output").to_be_visible()
    tab.ended("Ended with exit code 1")
    page.click("#close-shell")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_selector("#program-parts", state="hidden")
    expect(page.locator("#problems-list .problem-row")).to_be_visible()
    expect(page.locator("#artifacts-list .card")).to_be_visible()


SMALL = """() => [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility({ visibilityProperty: true })
    && !one.closest('.aside, .term, .xterm, [aria-hidden]') && one.getBoundingClientRect().left >= 0
    && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((one) => [parseFloat(getComputedStyle(one).fontSize), one.tagName, one.id || one.className, one.textContent.trim().slice(0, 20)])
    .filter(([size]) => size < 16).map(String)"""  # noqa: E501


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080)])
def test_all_grows_with_the_code(open_tab: Callable[..., Tab], width: int, height: int) -> None:
    tab = open_tab(viewport={"width": width, "height": height}).language("Python")
    page = tab.page
    before = page.locator("#run").bounding_box()
    page.click("#more")
    for _ in range(14):
        page.click("#larger")
    menu = page.locator("#more-menu").bounding_box()
    assert menu
    assert menu["x"] + menu["width"] <= width
    page.keyboard.press("Escape")
    after = page.locator("#run").bounding_box()
    assert before
    assert after
    assert after["height"] >= 1.5 * before["height"]
    tab.run(ALL_AT_ONCE)
    tab.ended("Ended with exit code 1")
    tab.shows(SMALL, [])
    tab.shows(CUT_OFF, [])
    tab.shows("document.documentElement.scrollWidth", lambda now: now <= width)
    for opener in ("#language", "#options", "#more"):
        page.click(opener)
        box = page.locator(f"{opener}-menu").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        tab.shows(SMALL, [])
        page.keyboard.press("Escape")
    tab.reload()
    again = page.locator("#run").bounding_box()
    assert again
    assert again["height"] == after["height"]


def test_a_phone_with_large_text_is_whole(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(viewport={"width": 390, "height": 760}, **TOUCH).language("Python")
    tab.page.tap("#more")
    for _ in range(14):
        tab.page.tap("#larger")
    tab.page.keyboard.press("Escape")
    tab.shows(CUT_OFF, [])
    tab.shows("document.documentElement.scrollWidth", 390)
