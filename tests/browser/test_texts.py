"""Every text that a user sees comes from the table, and each has room for a longer one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.tab import Tab
from tests.harness import Server

TOUCH = {"has_touch": True, "is_mobile": True}

LOOK = Path(__file__).with_name("texts.js").read_text("utf-8").strip()

MAKES = """import sys, time
open('table.csv', 'w').write('a,b\\n1,2\\n')
print('made', flush=True)
input()
def f(:
"""


def whole(tab: Tab, where: str) -> None:
    tab.shows(f"({LOOK}\n)()", [], why=where, seconds=5)


def begin(open_tab: Callable[..., Tab], url: str, **options: Any) -> Tab:
    return open_tab(f"{url}?lang=qps", **options)


def menus(tab: Tab, *names: str) -> None:
    for name in names:
        tab.page.click(f"#{name}")
        tab.until("document.querySelector('.menu:popover-open')")
        whole(tab, name)
        tab.page.keyboard.press("Escape")
        tab.until("!document.querySelector('.menu:popover-open')")


def test_the_language_of_the_page_is_told(open_tab: Callable[..., Tab], server: Server) -> None:
    tab = begin(open_tab, server.url)
    tab.shows("document.documentElement.lang", "en-x-qps")
    other = open_tab(f"{server.url}?lang=nowhere", beside=tab)
    other.shows("document.documentElement.lang", "en")
    other.shows("document.getElementById('run').innerText.trim().split('\\n')[0]", "Run")


@pytest.mark.parametrize("width", [768, 1280])
def test_every_text_of_the_page_is_of_the_table_and_whole(
    open_tab: Callable[..., Tab], server: Server, width: int
) -> None:
    tab = begin(open_tab, server.url, viewport={"width": width, "height": 800})
    page = tab.page
    whole(tab, "the first page")
    tab.language("Python")
    menus(tab, "language", "samples", "options", "more", "project", "transfer")
    page.click("#help" if width > 900 else "#more")
    if width <= 900:
        page.click("#menu-help")
    whole(tab, "help")
    page.keyboard.press("Escape")
    page.click("#new-file")
    whole(tab, "a question")
    page.keyboard.press("Enter")
    whole(tab, "a question with a wrong answer")
    page.keyboard.press("Escape")
    page.locator("#tree li").first.click(button="right")
    whole(tab, "the menu of a file")
    page.keyboard.press("Escape")
    page.click(".cm-content")
    page.keyboard.press("Control+f")
    whole(tab, "searching")
    page.keyboard.press("Escape")
    tab.run(MAKES.replace("def f(:\n", ""))
    tab.sees("made")
    page.wait_for_selector("#artifacts li")
    tab.shell()
    whole(tab, "a program that runs, what it made, and the shell")
    part = page.locator("#part-files")
    if part.is_visible():  # the pane is low: its parts are tabs
        part.click()
        whole(tab, "the parts of a low pane")
    page.click("#artifacts .card")
    whole(tab, "what it made, large")
    page.keyboard.press("Escape")
    page.click("#close-shell")
    page.click("#stop")
    tab.until("!coderunner.screens.program.running")
    whole(tab, "the end of a program that was stopped")
    tab.run(MAKES)
    page.wait_for_selector(".problem-row")
    tab.until("!coderunner.screens.program.running")
    whole(tab, "problems")
    tab.pipes()
    tab.run("input()\n")
    page.wait_for_selector("#stdin:not([hidden])")
    whole(tab, "a program on pipes")
    page.click("#more")
    page.click("#menu-end")
    whole(tab, "the question before a session is ended")
    page.keyboard.press("Enter")
    tab.until("coderunner.desk.session.phase === 'over'")
    while page.locator("#tabs .tab .icon-button").count():
        page.locator("#tabs .tab .icon-button").first.click()
    whole(tab, "no file is open")


def test_every_text_is_whole_on_a_phone(open_tab: Callable[..., Tab], server: Server) -> None:
    tab = begin(open_tab, server.url, viewport={"width": 390, "height": 760}, **TOUCH)
    page = tab.page
    whole(tab, "the first page")
    tab.language("Python")
    menus(tab, "language", "samples", "options", "more")
    for view in ("files", "code", "program", "shell"):
        page.tap(f'.views [data-view="{view}"]')
        whole(tab, view)
    page.tap('.views [data-view="files"]')
    menus(tab, "project", "transfer")
    page.tap('.views [data-view="code"]')
    tab.run("input()\n")
    tab.until("coderunner.screens.program.channel?.phase === 'running'")
    whole(tab, "a program that runs")
    tab.allowed.append("ERR_|WebSocket")
    page.context.set_offline(True)
    page.wait_for_selector(".banner")
    whole(tab, "without a network")
    page.context.set_offline(False)
    page.tap("#more")
    page.tap("#menu-help")
    whole(tab, "help")
