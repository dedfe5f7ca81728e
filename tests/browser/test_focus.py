"""Where typing goes: never nowhere, never twice."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.tab import Tab

IN_EDITOR = "document.activeElement.closest('.code') !== null"


def test_after_a_run_typing_goes_into_the_code(tab: Tab) -> None:
    page = tab.page
    tab.run("print('over', input())\n")
    tab.until("coderunner.screens.program.channel?.phase === 'running'")
    tab.type("x\n")
    tab.ended("Finished")
    tab.until(IN_EDITOR)
    page.keyboard.press("Control+End")
    tab.type("# typed")
    tab.shows("coderunner.editor.view.state.doc.toString()", lambda now: now.endswith("# typed"))


def test_a_splitter_takes_no_focus_from_who_types(tab: Tab) -> None:
    page = tab.page
    page.click(".cm-content")
    box = page.locator("#handle-right").bounding_box()
    assert box
    page.mouse.move(box["x"] + 3, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] - 60, box["y"] + 200)
    page.mouse.up()
    tab.until(IN_EDITOR)
    tab.until("document.getElementById('handle-right').getAttribute('aria-valuenow')")


def test_the_first_tab_key_begins_at_the_beginning(tab: Tab) -> None:
    tab.reload()
    tab.page.keyboard.press("Tab")
    tab.shows("document.activeElement.className", "skip")


def test_a_paste_into_the_terminal_of_a_program_on_pipes_comes_once(tab: Tab) -> None:
    page = tab.page
    tab.pipes().run("import sys\nprint([line for line in sys.stdin])\n")
    tab.until("coderunner.screens.program.channel?.phase === 'running'")
    tab.get("navigator.clipboard.writeText('one\\ntwo\\nthree')")
    page.click("#program-term")
    tab.get("coderunner.screens.program.view.focus()")
    page.keyboard.press("Control+v")
    tab.until("document.getElementById('stdin-text').value === 'three'")
    page.click("#stdin-eof")
    tab.ended("Finished")
    assert "['one\\n', 'two\\n', 'three']" in tab.text()


def test_a_program_that_asks_the_terminal_takes_no_focus(tab: Tab) -> None:
    page = tab.page
    tab.pipes().run(
        "import sys\nfor line in sys.stdin:\n    print('\\x1b[6n\\x1b[c\\x1b]11;?\\x07asked', flush=True)\n"
    )
    tab.until("coderunner.screens.program.channel?.phase === 'running'")
    page.fill("#stdin-text", "go")
    page.keyboard.press("Enter")
    page.click(".cm-content")
    tab.sees("asked")
    page.wait_for_timeout(100)
    tab.until(IN_EDITOR)
    expect(page.locator("#stdin-text")).to_have_value("")
    page.click("#stdin-eof")
    tab.ended("Finished")
