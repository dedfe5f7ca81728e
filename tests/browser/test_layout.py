"""What is seen on screens of all sizes: nothing is cut off, nothing is too small to be touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest

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
        assert tab.get(CUT_OFF) == [], width
        assert tab.get("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "height"), [(320, 568), (390, 760), (667, 375), (844, 390)])
def test_a_phone_either_way_round(open_tab: Callable[..., Tab], width: int, height: int) -> None:
    tab = open_tab(viewport={"width": width, "height": height}, **TOUCH).language("Python")
    page = tab.page
    assert tab.get(CUT_OFF) == []
    assert tab.get("document.documentElement.scrollWidth") == width
    name = "document.getElementById('language-name')"
    assert tab.get(f"{name}.scrollWidth <= {name}.clientWidth + 1"), "the language is named in full"
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
    assert page.is_visible("#keys")
    page.tap("#keys >> text='|'")
    page.keyboard.press("Enter")
    tab.ended("Finished")
    assert "typed |" in tab.text()


def test_a_tablet_has_the_keys_while_a_terminal_is_typed_into(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(viewport={"width": 1180, "height": 820}, **TOUCH).language("Python")
    page = tab.page
    assert page.is_hidden("#keys")
    tab.run("print('typed', input())\n")
    tab.until("coderunner.screens.program.channel?.phase === 'running'")
    page.tap("#keys >> text='~'")
    page.keyboard.press("Enter")
    tab.ended("Finished")
    assert "typed ~" in tab.text()
    page.tap(".cm-content")
    assert page.is_hidden("#keys")
    assert page.is_visible("#code-keys")
