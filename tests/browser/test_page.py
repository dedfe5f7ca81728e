"""The page itself: files, themes, keyboard, phone, readiness, the queue, and its security policy."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser.tab import Tab
from tests.harness import Server, running_server

OWN = "#tree li:not(.made):not(.section)"


def test_the_policy_is_strict_and_nothing_breaks_it(server: Server, tab: Tab) -> None:
    with urllib.request.urlopen(server.url, timeout=10) as answer:
        policy = answer.headers["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["frame-src"] == "'self'"
    assert "unsafe" not in policy
    # Each part that makes styles or markup by script is used once; the tab's console must stay clean.
    tab.run("print('\\x1b[48;5;99mx\\x1b[0m https://example.org')\n")
    tab.ended("Finished")
    tab.page.click(".cm-content")
    tab.page.keyboard.press("Control+f")
    tab.page.wait_for_selector(".cm-search")
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("Control+End")
    tab.type("pri")
    tab.page.wait_for_selector(".cm-tooltip-autocomplete")
    tab.page.keyboard.press("Escape")


def test_styles_reach_editor_and_terminal(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(color_scheme="dark").language("Python").code("import os\n")
    tab.until("document.querySelector('.cm-line span') !== null")
    tab.shows("getComputedStyle(document.querySelector('.cm-line span')).color", "rgb(209, 154, 240)")
    tab.run("print('\\x1b[32mgreen')\n")
    tab.ended("Finished")
    assert (
        tab.get("getComputedStyle(document.querySelector('#program .xterm-fg-2')).color")
        == "rgb(127, 211, 154)"
    )


def test_dark_and_light(open_tab: Callable[..., Tab]) -> None:
    surface = "getComputedStyle(document.querySelector('.bar')).backgroundColor"
    tab = open_tab(color_scheme="dark")
    tab.shows(surface, "rgb(23, 26, 32)")
    tab.page.emulate_media(color_scheme="light")
    tab.shows(surface, "rgb(255, 255, 255)")
    tab.page.click("#theme")
    tab.shows(surface, "rgb(23, 26, 32)")
    tab.reload()
    tab.shows(surface, "rgb(23, 26, 32)")
    tab.shows("coderunner.screens.program.view.term.options.theme.background", "#171a20")


def test_files_and_folders(tab: Tab) -> None:
    page = tab.page

    def ask(value: str) -> None:
        page.fill("#ask-input", value)
        page.click("#ask-ok")

    page.click("#new-file")
    ask("../up.py")
    expect(page.locator("#ask-problem")).not_to_be_empty()
    ask("tools/words.py")
    page.click(".cm-content")
    tab.type("LIST = ['a', 'b']")
    page.click("#tree li[data-path='main.py']")
    tab.code("from tools.words import LIST\nprint(LIST)\n").run()
    tab.ended("Finished")
    assert tab.text() == "['a', 'b']"

    page.focus("#tree li[data-path='tools/words.py']")
    page.keyboard.press("F2")
    ask("tools/names.py")
    expect(page.locator(f"{OWN}.folder")).to_have_text("tools", use_inner_text=True)
    tab.run()
    tab.ended("Ended with exit code 1")
    assert "No module named 'tools.words'" in tab.text(), (
        "the renamed file must not be found under its old name"
    )
    tab.reload()
    names = page.locator(f"{OWN} .name")
    expect(names).to_have_text(["tools", "names.py", "main.py"], use_inner_text=True)
    page.click("#tree li[data-path='tools/names.py']")
    expect(page.locator(".cm-content")).to_contain_text("LIST", use_inner_text=True)
    page.focus("#tree li[data-path='tools/names.py']")
    page.keyboard.press("Delete")
    page.click("#ask-ok")
    expect(names).to_have_text(["main.py"], use_inner_text=True)
    expect(page.locator("#tabs [role=tab]")).to_have_text(["main.py"], use_inner_text=True)


def test_each_language_keeps_its_project(tab: Tab) -> None:
    tab.code("print('mine')\n")
    tab.language("Bash").run("echo shell\n")
    tab.ended("Finished")
    assert tab.text() == "shell"
    tab.language("Python").run()
    tab.ended("Finished")
    assert tab.text() == "mine"
    tab.page.click("#samples")
    tab.page.get_by_role("menuitem", name="Hello, world").click()
    tab.until("coderunner.editor.view.state.doc.toString().includes('Hello, world!')")
    tab.run()
    tab.ended("Finished")
    assert tab.text() == "Hello, world!"


def test_keyboard_alone(tab: Tab) -> None:
    page = tab.page
    tab.code("print('keys', input())\n")
    page.keyboard.press("F1")
    page.wait_for_selector("#help-dialog[open]")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Enter")
    tab.until("coderunner.screens.program.channel?.phase === 'running'")
    tab.type("typed at once\n")
    tab.ended("Finished")
    page.keyboard.press("Control+`")
    tab.sees("$ ", "shell").type("echo in shell\n").sees("in shell\n", "shell")
    page.keyboard.press("Control+`")
    tab.until("document.activeElement.closest('.code') !== null")
    seen = []
    for _ in range(5):
        page.keyboard.press("F6")
        seen.append(
            tab.get(
                "document.activeElement.closest('.bar, .files, .code, .program, .shell')"
                ".className.split(' ').at(-1)"
            )
        )
    assert sorted(seen) == ["bar", "code", "files", "program", "shell"]
    tab.code("while True: pass\n")
    page.keyboard.press("Control+Enter")
    tab.until("coderunner.screens.program.channel?.phase === 'running'")
    page.keyboard.press("Shift+Escape")
    tab.ended("Stopped")


def test_everything_has_a_name(tab: Tab) -> None:
    nameless = tab.get(
        """() => [...document.querySelectorAll('button, input, [role=separator], [role=tree]')]
            .filter((one) => !one.getAttribute('aria-label') && !one.labels?.length)
            .filter((one) => !one.textContent.trim())
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_screen_reader_mode(tab: Tab) -> None:
    tab.page.click("#more")
    tab.page.get_by_role("menuitemcheckbox", name="Screen reader mode").click()
    tab.page.keyboard.press("Escape")
    tab.run("print('read me aloud')\n")
    tab.ended("Finished")
    tab.until("document.querySelector('#program .xterm-accessibility').innerText.includes('read me aloud')")
    tab.until("document.querySelector('.aside[aria-live]').textContent.startsWith('Program: Finished.')")


PHONE = {
    "viewport": {"width": 390, "height": 760},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}


def test_on_a_phone(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(**PHONE).language("Python")
    page = tab.page
    tab.shows("document.documentElement.scrollWidth", 390, why="nothing sticks out")
    tab.get("document.querySelector('#language-name').textContent = 'A language of a long name (science)'")
    tab.shows("document.querySelector('#run').getBoundingClientRect().right", lambda now: now <= 390)
    page.tap(".views [data-view=files]")
    expect(page.locator("#tree")).to_be_visible()
    page.tap("#tree li[data-path='main.py']")
    expect(page.locator(".cm-content")).to_be_visible()
    tab.code(
        "import os\nprint('columns', os.get_terminal_size().columns)\n"
        "print('said', repr(input('> ')))\nwhile True: pass\n"
    )
    page.tap("#run")
    columns = tab.get("coderunner.screens.program.view.size.cols")
    tab.sees(f"columns {columns}\n").sees("> ")
    assert 30 < columns < 60
    expect(page.locator(".cm-content")).to_be_hidden()
    # What a phone's keyboard does: it composes a word, then commits it.
    page.tap("#program-term")
    cdp = page.context.new_cdp_session(page)
    for part in ("w", "wo", "wor", "word"):
        cdp.send(
            "Input.imeSetComposition", {"text": part, "selectionStart": len(part), "selectionEnd": len(part)}
        )
    cdp.send("Input.insertText", {"text": "word"})
    cdp.send("Input.insertText", {"text": " ü"})
    tab.sees("> word ü")
    page.tap("#keys >> text='|'")
    tab.sees("> word ü|")
    page.keyboard.press("Enter")
    tab.sees("said 'word ü|'")
    page.tap("#keys >> text=Ctrl")
    cdp.send("Input.insertText", {"text": "c"})
    tab.ended("Ended by signal SIGINT")
    page.tap(".views [data-view=shell]")
    page.tap("#start-shell")
    tab.sees("$ ", "shell")
    tab.type("echo one\n").sees("\none", "shell")
    page.tap("#keys >> text='↑'")
    tab.until("coderunner.text('shell').endsWith('$ echo one')")


QUICK = """(moment) => {
  const area = document.querySelector('#program-term textarea');
  const event = (type, fields) => {
    const kinds = { input: InputEvent, beforeinput: InputEvent, keydown: KeyboardEvent, blur: FocusEvent };
    const Kind = kinds[type] ?? CompositionEvent;
    area.dispatchEvent(new Kind(type, { bubbles: true, composed: true, ...fields }));
  };
  const insert = () => {
    event('beforeinput', { inputType: 'insertText', data: ' next' });
    area.value += ' next';
    event('input', { inputType: 'insertText', data: ' next' });
  };
  const later = () => setTimeout(insert);
  const once = { once: true, capture: true };
  if (moment === 'later') document.addEventListener('compositionend', later, once);
  if (moment === 'key') document.addEventListener('compositionend', () => setTimeout(() => {
    event('keydown', { key: 'Unidentified', keyCode: 229 });
    later();
  }), once);
  event('compositionstart', { data: '' });
  area.value += 'word';
  event('compositionend', { data: 'word' });
  if (moment === 'back') {
    event('beforeinput', { inputType: 'deleteContentBackward' });
    area.value = area.value.slice(0, -1);
    event('input', { inputType: 'deleteContentBackward' });
  }
  if (['now', 'enter', 'back', 'leave'].includes(moment)) insert();
  if (moment === 'enter') event('keydown', { key: 'Enter', keyCode: 13 });
  if (moment === 'leave') event('blur');
}"""

LINE_BREAK = """() => {
  const area = document.querySelector('#program-term textarea');
  area.dispatchEvent(new KeyboardEvent('keydown', { bubbles: true, key: 'Unidentified', keyCode: 229 }));
  area.value += '\\n';
  area.dispatchEvent(new InputEvent('input', { bubbles: true, inputType: 'insertLineBreak' }));
}"""


def test_a_keyboard_quicker_than_the_terminal_loses_and_doubles_nothing(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(**PHONE).language("Python")
    tab.page.tap(".views [data-view=code]")
    tab.code("for moment in range(6): print('said', repr(input('> ')), moment)\n")
    tab.page.tap("#run")
    for number, moment in enumerate(("now", "later", "key", "enter", "back", "leave")):
        said = "wor next" if moment == "back" else "word next"
        tab.until(f"coderunner.text('program').split('> ').length === {number + 2}")
        tab.get(QUICK, moment)
        if moment != "enter":
            tab.until(f"coderunner.text('program').endsWith('> {said}')")
            tab.get(LINE_BREAK)
        tab.sees(f"said '{said}' {number}")


BLOCKED = """() => setTimeout(() => {
  const end = performance.now() + 150;
  while (performance.now() < end);
}, 5)"""


def test_words_that_are_composed_while_the_page_is_busy_come_once(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(**PHONE).language("Python")
    tab.code("for _ in range(3): print('said', repr(input('> ')))\n")
    tab.page.tap("#run")
    tab.page.tap("#program-term")
    cdp = tab.page.context.new_cdp_session(tab.page)
    for number in range(3):
        tab.until(f"coderunner.text('program').split('> ').length === {number + 2}")
        tab.get(BLOCKED)
        for word in ("hell", "hello", " wor", " world"):
            cdp.send("Input.imeSetComposition", {"text": word, "selectionStart": 5, "selectionEnd": 5})
            if len(word) > 4:
                cdp.send("Input.insertText", {"text": word})
            if word == "hello":
                cdp.send("Input.insertText", {"text": "!"})
        tab.until("coderunner.text('program').endsWith('> hello! world')")
        tab.page.keyboard.press("Enter")
        tab.until(f"coderunner.text('program').split(\"said 'hello! world'\").length === {number + 2}")


def test_a_word_is_seen_at_the_cursor_while_it_is_composed(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(**PHONE).language("Python")
    tab.run("print('said', repr(input('name? ')))\n").sees("name? ")
    tab.page.tap("#program-term")
    cdp = tab.page.context.new_cdp_session(tab.page)
    cdp.send("Input.imeSetComposition", {"text": "にほ", "selectionStart": 2, "selectionEnd": 2})
    word = tab.page.locator("#program-term .composing")
    expect(word).to_have_text("にほ")
    cell = tab.get("document.querySelector('#program-term .xterm-screen').offsetWidth") / tab.get(
        "coderunner.screens.program.view.size.cols"
    )
    tab.shows(
        "document.querySelector('#program-term .composing').offsetLeft", lambda x: abs(x - 6 * cell) < 3
    )
    cdp.send("Input.insertText", {"text": "日本"})
    expect(word).to_be_hidden()
    tab.sees("name? 日本")
    cdp.send("Input.insertText", {"text": "😀"})
    tab.sees("name? 日本😀")
    # Its first half is the one of the face that it replaces.
    region = {"selectionStart": 2, "selectionEnd": 2, "replacementStart": 2, "replacementEnd": 4}
    cdp.send("Input.imeSetComposition", {"text": "😁", **region})
    cdp.send("Input.insertText", {"text": "😁"})
    tab.sees("😁")
    tab.page.keyboard.press("Enter")
    tab.sees("said '日本😁'")


def test_what_an_input_method_takes_back_is_taken_back(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(**PHONE).language("Python")
    tab.code("print('said', repr(input('> ')))\n")
    tab.page.tap("#run")
    tab.sees("> ")
    tab.page.tap("#program-term")
    cdp = tab.page.context.new_cdp_session(tab.page)
    cdp.send("Input.insertText", {"text": "wörld"})
    tab.sees("> wörld")
    for _ in range(2):  # a phone's backspace is no key of its own
        cdp.send(
            "Input.dispatchKeyEvent",
            {
                "type": "rawKeyDown",
                "windowsVirtualKeyCode": 229,
                "key": "Unidentified",
                "commands": ["DeleteBackward"],
            },
        )
    tab.until("coderunner.text('program').trimEnd().endsWith('> wör')")
    tab.page.keyboard.press("Enter")
    tab.sees("said 'wör'")


def test_a_word_that_is_composed_again_replaces_what_was_sent(open_tab: Callable[..., Tab]) -> None:
    """As keyboards do behind a backspace over a space, and when they correct what was typed."""
    tab = open_tab(**PHONE).language("Python")
    tab.code("for _ in range(2): print('said', repr(input('> ')))\n")
    tab.page.tap("#run")
    tab.sees("> ")
    tab.page.tap("#program-term")
    cdp = tab.page.context.new_cdp_session(tab.page)
    for number, (typed, again) in enumerate((("hello", "hell"), ("say teh", "say the end"))):
        tab.until(f"coderunner.text('program').split('> ').length === {number + 2}")
        cdp.send("Input.insertText", {"text": typed})
        tab.until(f"coderunner.text('program').endsWith('> {typed}')")
        region = {"replacementStart": 0, "replacementEnd": len(typed)}
        end = len(again)
        cdp.send(
            "Input.imeSetComposition", {"text": again, "selectionStart": end, "selectionEnd": end, **region}
        )
        cdp.send("Input.insertText", {"text": again})
        tab.until(f"coderunner.text('program').trimEnd().endsWith('> {again}')")
        tab.page.keyboard.press("Enter")
        tab.sees(f"said '{again}'")


def test_a_key_of_the_bar_comes_behind_the_word_before_it(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(**PHONE).language("Python")
    tab.code("print('said', repr(input('> ')))\n")
    tab.page.tap("#run")
    tab.sees("> ")
    tab.page.tap("#program-term")
    cdp = tab.page.context.new_cdp_session(tab.page)
    cdp.send("Input.imeSetComposition", {"text": "foo", "selectionStart": 3, "selectionEnd": 3})
    tab.page.tap("#keys >> text='Tab'")
    tab.page.keyboard.press("Enter")
    tab.sees("said 'foo\\t'")


def test_languages_that_are_not_ready_are_told(server: Server, open_tab: Callable[..., Tab]) -> None:
    document = server.get("api/languages")
    tab = open_tab(load=False)
    state = {"status": "building"}

    def answer(route: Route) -> None:
        languages = [{**one, **state} if one["name"] == "python" else one for one in document["languages"]]
        route.fulfill(status=200, content_type="application/json", body=json.dumps({"languages": languages}))

    tab.page.route("**/api/languages", answer)
    tab.open().language("Python").banner("Python is being prepared")
    expect(tab.page.locator("#run")).to_be_disabled()
    count = len(document["languages"])
    expect(tab.page.locator("#ready-text")).to_have_text(f"{count - 1} of {count} languages ready")
    tab.page.click("#language")
    expect(tab.page.locator("#language-progress")).to_have_text(
        f"{count - 1} of {count} are ready; being prepared: Python."
    )
    tab.page.keyboard.press("Escape")
    state["status"] = "ready"
    tab.page.wait_for_selector("#run:not([disabled])")
    expect(tab.page.locator(".banner")).to_have_count(0)
    expect(tab.page.locator("#ready-text")).to_have_text("")


def test_a_bad_request_is_told_in_words(tab: Tab) -> None:
    tab.get("coderunner.desk.project.create('two\\\\parts.py')")
    tab.run()
    tab.page.wait_for_selector("#outcome:has-text('Not started')")
    assert re.search(r"Rename it\..*bad_path", tab.outcome())
    tab.get("coderunner.desk.project.remove('two\\\\parts.py')")
    tab.run("print('fine')\n").sees("fine")


@pytest.mark.timeout(180)
def test_the_queue_is_shown_and_can_be_left(tmp_path: Path, open_tab: Callable[..., Tab]) -> None:
    with running_server(
        tmp_path, ready=("python",), MAX_CONCURRENT_SESSIONS="1", LANGUAGES="python", WARM_MAX="1"
    ) as small:
        first = open_tab(small.url)
        first.run("print('holds the place')\ninput()\n").sees("holds the place")
        second = open_tab(small.url)
        second.run("print('my turn')\n")
        second.page.wait_for_selector("#waiting:has-text('You are next')")
        second.page.keyboard.press("Control+Enter")  # once more: the place is kept
        second.until("coderunner.desk.session.phase === 'queued'")
        third = open_tab(small.url)
        third.run("print('never')\n")
        third.page.wait_for_selector("#waiting:has-text('You are number 2 in the queue')")
        third.page.click("#leave")
        third.ended("Not started")
        second.reload()  # its place is kept
        second.page.wait_for_selector("#waiting:has-text('You are next')")
        first.page.click("#more")
        first.page.get_by_role("menuitem", name="End the session").click()
        first.page.click("#ask-ok")
        second.sees("my turn")
        second.ended("Finished")
        for tab in (first, second, third):
            tab.get("coderunner.desk.end()")
            tab.page.goto("about:blank")
