"""Fingers: scrolling, selecting and the scrollbar of a terminal, and the keys that a phone hides."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.tab import Tab

pytestmark = pytest.mark.timed

PHONE = {"viewport": {"width": 390, "height": 760}, "has_touch": True, "is_mobile": True}
TOP = "coderunner.screens.program.view.term.buffer.active.viewportY"


class Finger:
    """One finger on a page, as the browser itself hears it."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._cdp = tab.page.context.new_cdp_session(tab.page)

    def _send(self, kind: str, *points: tuple[float, float]) -> None:
        self._cdp.send(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]}
        )

    def drag(
        self, begin: tuple[float, float], end: tuple[float, float], *, hold_ms: int = 0, rest_ms: int = 120
    ) -> None:
        """Down, after ``hold_ms`` to ``end`` in ten steps, up after ``rest_ms`` (0: with a swing)."""
        self._send("touchStart", begin)
        self._tab.page.wait_for_timeout(hold_ms)
        for step in range(1, 11):
            x, y = (a + (b - a) * step / 10 for a, b in zip(begin, end, strict=True))
            self._send("touchMove", (x, y))
            self._tab.page.wait_for_timeout(10)
        self._tab.page.wait_for_timeout(rest_ms)
        self._send("touchEnd")


Place = tuple[float, float]


def swing(phone: Tab, finger: Finger, begin: Place, end: Place, line: float) -> None:
    """A drag that goes on when the finger is up.  A busy machine may keep the finger still at its end, which
    is no swing: then it is tried again."""
    by = (begin[1] - end[1]) / line
    for _ in range(6):
        top = phone.get(TOP)
        finger.drag(begin, end, rest_ms=0)
        beyond = f"{TOP} < {top + by - 3}" if by < 0 else f"{TOP} > {top + by + 3}"
        with contextlib.suppress(AssertionError):
            phone.until(beyond, seconds=2)
            return
    raise AssertionError("the output does not go on when the finger is up")


@pytest.fixture
def phone(open_tab: Callable[..., Tab]) -> Tab:
    return open_tab(**PHONE).language("Python")


def test_a_finger_scrolls_the_output(phone: Tab) -> None:
    phone.run("for number in range(300): print('line', number)\nprint('end', input())\n").sees("line 299")
    finger = Finger(phone)
    bottom = phone.get(TOP)
    finger.drag((200, 200), (200, 500))
    scrolled = phone.get(TOP)
    height = phone.get("document.querySelector('#program-term .xterm-screen').clientHeight")
    line = height / phone.get("coderunner.screens.program.view.term.rows")
    assert abs((bottom - scrolled) - 300 / line) <= 2, "as far as the finger went"
    phone.shows("document.activeElement.tagName", "TEXTAREA", why="the keyboard stays as it was")
    swing(phone, finger, (200, 200), (200, 450), line)
    swing(phone, finger, (200, 600), (200, 100), line)


def test_a_finger_scrolls_what_a_program_scrolls(phone: Tab) -> None:
    phone.run(
        "import os, sys, tty, termios\nmode = termios.tcgetattr(0); tty.setraw(0)\n"
        "print('\\x1b[?1049h\\x1b[?1000h\\x1b[?1006hready', end='', flush=True)\n"
        "got = b''\nwhile got.count(b'M') < 3: got += os.read(0, 100)\n"
        "termios.tcsetattr(0, termios.TCSANOW, mode)\nprint('\\x1b[?1049l\\x1b[?1000l', repr(got[:6]))\n"
    ).sees("ready")
    Finger(phone).drag((200, 200), (200, 500))
    phone.ended("Finished")
    assert "\\x1b[<64" in phone.text(), "the wheel, upwards"


def test_a_finger_selects_and_copies(phone: Tab) -> None:
    phone.run("print('first word-here last')\nprint('the next line')\n")
    phone.ended("Finished")
    box = phone.get("document.querySelector('#program-term .xterm-screen').getBoundingClientRect().toJSON()")
    cell = box["width"] / phone.get("coderunner.screens.program.view.term.cols")
    line = box["height"] / phone.get("coderunner.screens.program.view.term.rows")
    at = (box["x"] + 8.5 * cell, box["y"] + line / 2)
    finger = Finger(phone)
    finger.drag(at, at, hold_ms=700)
    selected = "coderunner.screens.program.view.term.getSelection()"
    phone.shows(selected, "word-here")
    finger.drag(at, (box["x"] + 7.5 * cell, at[1] + line), hold_ms=700)
    phone.shows(selected, "word-here last\nthe next")
    phone.page.tap(".touch-tools >> text=Copy")
    phone.until("!document.querySelector('.touch-tools:not([hidden])')")
    phone.shows("navigator.clipboard.readText()", "word-here last\nthe next")


def test_a_finger_drags_the_scrollbar(phone: Tab) -> None:
    phone.run("for number in range(300): print('line', number)\nprint('end', input())\n").sees("line 299")
    finger = Finger(phone)
    finger.drag((200, 300), (200, 340))  # the bar shows itself
    bar = phone.get(
        "document.querySelector('#program-term .scrollbar.vertical .slider').getBoundingClientRect().toJSON()"
    )
    assert bar["width"] >= 12
    at = (bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 2)
    before = phone.get(TOP)
    finger.drag(at, (at[0], at[1] - 200))
    phone.shows(TOP, lambda now: now < before - 50)


def test_a_finger_pastes(phone: Tab) -> None:
    phone.run("print('said', repr(input('> ')))\n").sees("> ")
    phone.get("navigator.clipboard.writeText('from elsewhere')")
    Finger(phone).drag((200, 400), (200, 400), hold_ms=700)
    phone.page.tap(".touch-tools >> text=Paste")
    phone.sees("> from elsewhere")


@pytest.mark.parametrize(("width", "height"), [(390, 760), (320, 568), (667, 375), (1180, 820)])
def test_the_code_has_the_keys_that_a_phone_hides(
    open_tab: Callable[..., Tab], width: int, height: int
) -> None:
    tab = open_tab(viewport={"width": width, "height": height}, has_touch=True, is_mobile=True)
    tab.language("Python").code("")
    page = tab.page
    expect(page.locator("#code-keys"), "nothing is typed yet").to_be_hidden()
    page.tap(".cm-content")
    page.wait_for_selector("#code-keys", state="visible")

    def press(*labels: str) -> None:
        for label in labels:
            page.locator("#code-keys").get_by_role("button", name=label, exact=True).tap()

    tab.type("if True")
    press(":")
    page.keyboard.press("Enter")
    tab.type("print")
    press("(", '"')
    tab.type("a")
    press('"', "+", "[", '"')
    tab.type("b")
    press('"', "]", "[")
    tab.type("0")
    press("Right")
    text = "coderunner.editor.view.state.doc.toString()"
    tab.shows(text, 'if True:\n    print("a"+["b"][0])')
    press("Indent")
    tab.shows(text, lambda now: now.endswith("[0]    )"), why="at the cursor")
    press("Undo", "Undo", "Redo")
    page.keyboard.press("Control+a")
    press("Indent")
    tab.shows(text, lambda now: now.startswith("    if True:\n        print"), why="the selected lines")
    press("Indent less")
    tab.until("document.activeElement.className.startsWith('cm-content')")  # the keyboard stays open
    tab.shows("document.documentElement.scrollWidth", width)
