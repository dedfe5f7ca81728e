"""What compilers and tracebacks complain about: marked in the editor, listed, and linked in the terminal."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.tab import Tab

CURSOR = """(({ doc, selection }) => { const { number, from } = doc.lineAt(selection.main.head);
    return [number, selection.main.head - from + 1]; })(coderunner.editor.view.state)"""
ITEMS = [
    {"path": "lib/words.py", "line": 2, "column": 5, "severity": "error", "message": "NameError: nope"},
    {"path": "main.py", "line": 1, "column": 1, "severity": "warning", "message": "called <b>here</b>"},
    {"path": "/usr/lib/python3.11/ast.py", "line": 9, "column": 1, "severity": "info", "message": "not ours"},
]


def two_files(tab: Tab, *, words: str = "def say():\n    nope\n") -> None:
    tab.code("from lib.words import say\nprint('begun')\nsay()\n")
    tab.get("(text) => coderunner.desk.project.create('lib/words.py', text)", words)


def tell(tab: Tab) -> None:
    tab.get("(items) => coderunner.screens.program.channel.emit('diagnostics', items)", ITEMS)


def test_problems_are_marked_listed_and_jumped_to(tab: Tab) -> None:
    two_files(tab, words="def say():\n    input()\n")
    page = tab.page
    page.click("#tree li[data-path='main.py']")
    tab.run().sees("begun")
    tell(tab)
    assert page.inner_text("#problems-title") == "1 error"
    rows = page.locator("#problems .problem-row")
    assert rows.all_inner_texts() == [
        "lib/words.py:2:5\nNameError: nope", "main.py:1:1\ncalled <b>here</b>",
        "/usr/lib/python3.11/ast.py:9:1\nnot ours",
    ]  # fmt: skip
    assert page.locator("#problems button").count() == 2, "a file that is not in the project cannot be opened"
    assert page.locator(".cm-lintRange-warning").inner_text() == "from lib.words import say"
    rows.nth(0).click()
    assert tab.get("coderunner.desk.project.active") == "lib/words.py"
    assert tab.get(CURSOR) == [2, 5]
    assert tab.get("document.activeElement.closest('.cm-content') !== null")
    assert page.locator(".cm-lintRange-error").inner_text() == "input()"
    assert page.locator(".cm-lint-marker-error").count() == 1
    # With the keyboard: F6 comes by, the arrows choose.
    for _ in range(6):
        page.keyboard.press("F6")
        if tab.get("document.activeElement.matches('#problems button')"):
            break
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert tab.get("coderunner.desk.project.active") == "main.py"
    assert tab.get(CURSOR) == [1, 1]
    page.click("#program-term")
    tab.type("\n")
    tab.ended("Finished")
    assert page.is_visible("#problems")
    tab.run()
    assert page.is_hidden("#problems"), "the next run begins without the last one's"
    assert page.locator(".cm-lintRange").count() == 0


def test_a_traceback_is_a_problem(tab: Tab) -> None:
    two_files(tab)
    page = tab.page
    page.click("#tree li[data-path='main.py']")
    tab.run()
    tab.ended("Ended with exit code 1")
    page.wait_for_selector("#problems")
    row = page.locator("#problems button", has_text="lib/words.py:2")
    assert "NameError: name 'nope' is not defined" in row.inner_text()
    row.click()
    assert tab.get("coderunner.desk.project.active") == "lib/words.py"
    assert tab.get(CURSOR)[0] == 2
    assert page.locator(".cm-lint-marker-error").count() == 1
    tab.reload()
    tab.ended("Ended with exit code 1")
    page.wait_for_selector("#problems button")  # told again to a page that attaches
    tab.code("def say():\n    print('mended')\n").run()
    tab.ended("Finished")
    assert tab.text().endswith("mended")
    assert page.is_hidden("#problems")
    assert page.locator(".cm-lint-marker").count() == 0


def test_compile_errors_and_warnings_are_problems(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab().language("C")
    tab.run("int main(void) {\n    int unused;\n    return 1 +;\n}\n")
    tab.ended("Did not compile")
    tab.page.wait_for_selector("#problems button")
    text = tab.page.locator("#problems button", has_text="main.c:3:").inner_text()
    assert "expected expression" in text
    tab.page.click("#problems button:has-text('main.c:3:')")
    assert tab.get(CURSOR) == [3, 15]


def test_places_in_the_output_are_links(tab: Tab) -> None:
    two_files(tab)
    page = tab.page
    page.click("#tree li[data-path='main.py']")
    tab.run()
    tab.ended("Ended with exit code 1")
    point = tab.get("""() => { const { term } = coderunner.screens.program.view;
        const box = document.querySelector('#program .xterm-screen').getBoundingClientRect();
        for (let row = 0; row < term.rows; row += 1) {
            const text = term.buffer.active.getLine(row).translateToString();
            const at = text.indexOf('words.py');
            if (at < 0) continue;
            const [width, height] = [box.width / term.cols, box.height / term.rows];
            return [box.left + (at + 2) * width, box.top + (row + .5) * height];
        } }""")
    page.mouse.move(*point)
    page.wait_for_selector("#program .xterm-cursor-pointer")
    page.mouse.click(*point)
    tab.until("coderunner.desk.project.active === 'lib/words.py'")
    assert tab.get(CURSOR)[0] == 2


def test_problems_on_a_phone(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(viewport={"width": 390, "height": 760}, has_touch=True, is_mobile=True).language("Python")
    two_files(tab, words="def say():\n    input()\n")
    tab.run().sees("begun")
    tell(tab)
    assert tab.get("document.documentElement.scrollWidth") == 390
    tab.page.tap("#problems button")
    assert tab.page.is_visible(".cm-content")
    assert tab.get(CURSOR) == [2, 5]
