"""What axe-core finds in the page, in its states: nothing.  And the keyboard where axe cannot look."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.tab import Tab

AXE = Path(__file__).parent.parent.parent / "node_modules/axe-core/axe.min.js"
# What stands in a terminal is the program's, and xterm.js keeps its contrast itself.
CHECK = """() => axe.run({ exclude: ['.xterm-rows', '.xterm-decoration-container'] })
    .then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) =>
        `${id}: ${html.slice(0, 160)} ${failureSummary.slice(0, 200)}`)))"""


def check(tab: Tab, state: str) -> None:
    if not tab.get("window.axe !== undefined"):
        tab.get(AXE.read_text("utf-8") + "; undefined")
    found: list[Any] = tab.get(CHECK)
    assert found == [], f"{state}:\n" + "\n".join(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_tab: Callable[..., Tab], scheme: str) -> None:
    tab = open_tab(color_scheme=scheme).language("Python")
    page = tab.page
    check(tab, "at first")
    tab.shell()
    tab.get("coderunner.desk.project.create('lib/words.py', 'nope\\n')")
    page.click("#tree li[data-path='main.py']")
    tab.code("open('made.csv', 'w').write('a,b\\n1,2\\n')\nimport lib.words\n")
    tab.run()
    check(tab, "while it runs")
    tab.ended("Ended with exit code 1")
    page.wait_for_selector("#artifacts-list .card", state="attached")
    check(tab, "with problems and files")
    for opener in ("#language", "#samples", "#options", "#more", "#project", "#transfer"):
        page.click(opener)
        check(tab, opener)
        page.keyboard.press("Escape")
    page.locator("#tree li").first.click(button="right")
    check(tab, "menu of a file")
    page.keyboard.press("Escape")
    page.click("#help")
    check(tab, "help")
    page.keyboard.press("Escape")
    page.click("#new-file")
    check(tab, "a question")
    page.keyboard.press("Escape")
    page.focus(".cm-content")
    page.keyboard.press("Control+f")
    check(tab, "searching")


def test_axe_finds_nothing_on_a_phone(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(viewport={"width": 390, "height": 760}, has_touch=True, is_mobile=True).language("Python")
    page = tab.page
    page.tap(".cm-content")
    check(tab, "code")
    tab.run("open('made.csv', 'w').write('a,b\\n1,2\\n')\nprint(nope)\n")
    tab.ended("Ended with exit code 1")
    page.wait_for_selector("#artifacts-list .card", state="attached")
    check(tab, "program")
    for view in ("files", "shell"):
        page.tap(f".views [data-view={view}]")
        check(tab, view)
    page.tap("#samples")
    check(tab, "samples")


def test_menus_by_keyboard(tab: Tab) -> None:
    page = tab.page

    def focused(name: str) -> None:
        tab.until(f"document.activeElement.textContent.trim() === {json.dumps(name)}", seconds=5)

    for opener in ("#more", "#samples", "#project", "#transfer"):
        menu = page.locator(f"{opener}-menu")
        names = menu.locator("[role^=menuitem]:visible:not(:disabled)")
        page.focus(opener)
        page.keyboard.press("ArrowDown")
        menu.wait_for(state="visible")
        if opener == "#project":
            menu.get_by_role("menuitemradio").first.wait_for()
        all_names = [name.strip() for name in names.all_text_contents()]
        tab.until(f"{json.dumps(all_names)}.includes(document.activeElement.textContent.trim())")
        page.keyboard.press("End")
        focused(all_names[-1])
        page.keyboard.press("ArrowDown")
        focused(all_names[0])
        page.keyboard.press("Escape")
        tab.shows("document.activeElement.id", opener[1:])
        page.keyboard.press("ArrowUp")
        menu.wait_for(state="visible")
        focused(all_names[-1])
        page.keyboard.press("Tab")
        menu.wait_for(state="hidden")
    page.focus("#more")
    page.keyboard.press("ArrowDown")
    tab.until("document.activeElement.closest('#more-menu') !== null")
    focused("Help and shortcuts")
    page.keyboard.press("ArrowDown")
    focused("Follow the system’s theme")  # what stands between them is seen on phones only
    page.keyboard.press("e")
    focused("End the session")
    page.keyboard.press("Escape")
    page.focus("#language")
    page.keyboard.press("ArrowDown")
    focused_language = "document.activeElement.closest('#language-list [aria-checked=true]') !== null"
    tab.until(focused_language, seconds=5)


def test_every_button_has_a_name_that_is_seen(tab: Tab) -> None:
    nameless = """[...document.querySelectorAll('button')]
        .filter((one) => one.checkVisibility({ visibilityProperty: true }))
        .filter((one) => !one.innerText.trim() && !one.title).map((one) => one.outerHTML)"""
    tab.shows(nameless, [])


def test_tabs_have_panels(tab: Tab) -> None:
    tab.get("coderunner.desk.project.create('other.py', 'other = 1\\n')")
    tabs = tab.page.get_by_role("tab")
    for number, name in enumerate(("main.py", "other.py")):
        expect(tabs.nth(number)).to_have_text(name)
    panel = tab.page.get_by_role("tabpanel", name="other.py")
    expect(panel.locator(".cm-content")).to_have_count(1)
    tabs.nth(1).focus()
    tab.page.keyboard.press("Home")
    expect(tab.page.get_by_role("tabpanel", name="main.py")).to_have_count(1)
    tab.shows("document.activeElement.textContent", "main.py")
    tab.page.keyboard.press("ArrowLeft")  # around
    tab.shows("document.activeElement.textContent", "other.py")


def test_the_tree_by_keyboard(tab: Tab) -> None:
    page = tab.page
    tab.get("coderunner.desk.project.create('lib/words.py', 'words = 1\\n')")
    tab.get("coderunner.desk.project.create('other.py', 'other = 1\\n')")
    at = "document.activeElement.dataset.path ?? document.activeElement.dataset.folder"
    reached = "document.querySelectorAll('#tree li[tabindex=\"0\"]').length"
    tab.shows(reached, 1)
    page.locator("#tree li[tabindex='0']").focus()
    for key, path in (
        ("Home", "lib"), ("ArrowUp", "lib"), ("ArrowDown", "lib/words.py"), ("ArrowLeft", "lib"),
        ("ArrowLeft", "lib"), ("ArrowDown", "main.py"), ("End", "other.py"), ("l", "lib"),
        ("ArrowRight", "lib"), ("ArrowDown", "lib/words.py"), ("m", "main.py"),
    ):  # fmt: skip
        page.keyboard.press(key)
        tab.shows(at, path)
        tab.shows(reached, 1)
    page.keyboard.press("Enter")
    tab.until("coderunner.desk.project.active === 'main.py'")


def test_states_are_seen_in_forced_colours(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(forced_colors="active").language("Python")
    tab.get("coderunner.desk.project.create('other.py', 'other = 1\\n')")
    drawn = """(selector) => {
        const { outlineStyle, outlineWidth } = getComputedStyle(document.querySelector(selector));
        return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1; }"""
    for chosen, other in (
        (".tab[data-active]", ".tab:not([data-active])"),
        ("#tree [aria-selected=true]", "#tree [aria-selected=false]"),
    ):
        tab.shows(f"({drawn})({chosen!r})", True)
        tab.shows(f"({drawn})({other!r})", False)
    colour = "getComputedStyle(document.querySelector('#outcome .dot')).backgroundColor"
    tab.page.click("#tree li[data-path='main.py']")
    tab.run("print(nope)\n")
    tab.ended("Ended with exit code 1")
    bad = tab.get(colour)
    tab.run("print('fine')\n")
    tab.ended("Finished")
    tab.shows(colour, lambda now: now != bad)
