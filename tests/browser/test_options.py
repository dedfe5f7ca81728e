"""How a program is run, and the choice of a language among many."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from tests.browser.tab import Tab
from tests.harness import Server

PHONE = {"viewport": {"width": 390, "height": 760}, "has_touch": True, "is_mobile": True}


def test_arguments_environment_and_entry(tab: Tab) -> None:
    page = tab.page
    tab.get("(text) => coderunner.desk.project.create('other.py', text)", "print('other')\n")
    page.click("#tree li[data-path='main.py']")
    tab.code("import os, sys\nprint(sys.argv[1:], os.environ['WORD'], os.environ['SUM'])\n")
    page.click("#options")
    page.fill("#args", "one 'two words'")
    page.fill("#env", "WORD=a b\nSUM")
    expect(page.locator("#env-hint")).to_have_text("Line 2: NAME=value is expected.", use_inner_text=True)
    page.fill("#env", "WORD=a b\n# kept\nSUM=1=1")
    page.keyboard.press("Escape")
    expect(page.locator("#options")).to_have_attribute("title", 'one "two words" · 2 variables')
    tab.run()
    tab.ended("Finished")
    assert tab.text() == "['one', 'two words'] a b 1=1"
    tab.reload()
    page.click("#options")
    expect(page.locator("#env")).to_have_value("WORD=a b\n# kept\nSUM=1=1")
    page.select_option("#entry-file", "other.py")
    page.keyboard.press("Escape")
    expect(page.locator("#tree li[data-path='other.py'] .entry")).to_have_text("run", use_inner_text=True)
    tab.run()
    tab.ended("Finished")
    assert tab.text() == "other"


def many(server: Server) -> list[dict[str, object]]:
    """The server's languages among thirty others."""
    own = server.get("api/languages")["languages"]
    others = [
        {**own[0], "name": f"other{number}", "title": f"Other {number}", "extensions": [f".o{number}"]}
        for number in range(30)
    ]
    for number, one in enumerate(others):
        one["status"] = ("ready", "building", "failed")[number % 3]
    return [*others, *own]


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_one_of_many_languages_is_found_by_typing(
    server: Server, open_tab: Callable[..., Tab], options: dict[str, object]
) -> None:
    tab = open_tab(load=False, **options)
    body = json.dumps({"languages": many(server)})

    def answer(route: Route) -> None:
        route.fulfill(status=200, content_type="application/json", body=body)

    tab.page.route("**/api/languages", answer)
    page = tab.open().page
    page.click("#language")
    expect(page.locator("#language-list [role=menuitemradio]")).to_have_count(35)
    titles = page.locator("#language-list .group-title")
    expect(titles).to_have_text(["Ready", "Being prepared", "Not available"], use_inner_text=True)
    box = page.locator("#language-menu").bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["y"] >= 0
    size = page.viewport_size
    assert size
    assert box["x"] + box["width"] <= size["width"]
    assert box["y"] + box["height"] <= size["height"]
    tab.shows("document.activeElement.getAttribute('aria-checked')", "true")
    page.keyboard.type("oth")  # from an item, letters go to the field
    expect(page.locator("#language-filter")).to_have_value("oth")
    expect(page.locator("#language-list [role=menuitemradio]")).to_have_count(30)
    page.fill("#language-filter", ".o29")
    first = page.locator("#language-list [role=menuitemradio]").first
    expect(first).to_have_text(re.compile("^Other 29"), use_inner_text=True)
    page.fill("#language-filter", "nothing like it")
    expect(page.locator("#language-none")).to_be_visible()
    page.fill("#language-filter", "other")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#language-menu")).to_be_hidden()
    tab.until("document.getElementById('language-name').textContent === 'Other 12'")
