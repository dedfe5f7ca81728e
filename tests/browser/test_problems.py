"""What compilers and tracebacks complain about: marked in the editor, listed, and linked in the terminal."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

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
    expect(page.locator("#problems-title")).to_have_text("1 error", use_inner_text=True)
    rows = page.locator("#problems .problem-row")
    expect(rows).to_have_text(
        [
            "lib/words.py:2:5\nNameError: nope",
            "main.py:1:1\ncalled <b>here</b>",
            "/usr/lib/python3.11/ast.py:9:1\nnot ours",
        ],
        use_inner_text=True,
    )
    links = page.locator("#problems button")
    expect(links, "a file that is not in the project cannot be opened").to_have_count(2)
    called = page.locator(".cm-lintRange-warning")
    expect(called).to_have_text("from lib.words import say", use_inner_text=True)
    rows.nth(0).click()
    tab.shows("coderunner.desk.project.active", "lib/words.py")
    tab.shows(CURSOR, [2, 5])
    tab.until("document.activeElement.closest('.cm-content') !== null")
    expect(page.locator(".cm-lintRange-error")).to_have_text("input()", use_inner_text=True)
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    # With the keyboard: F6 comes by, the arrows choose.
    for _ in range(6):
        page.keyboard.press("F6")
        if tab.get("document.activeElement.matches('#problems button')"):
            break
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    tab.shows("coderunner.desk.project.active", "main.py")
    tab.shows(CURSOR, [1, 1])
    page.click("#program-term")
    tab.type("\n")
    tab.ended("Finished")
    expect(page.locator("#problems")).to_be_visible()
    tab.run()
    expect(page.locator("#problems"), "the next run begins without the last one's").to_be_hidden()
    expect(page.locator(".cm-lintRange")).to_have_count(0)


def test_a_traceback_is_a_problem(tab: Tab) -> None:
    two_files(tab)
    page = tab.page
    page.click("#tree li[data-path='main.py']")
    tab.run()
    tab.ended("Ended with exit code 1")
    page.wait_for_selector("#problems")
    row = page.locator("#problems button", has_text="lib/words.py:2")
    expect(row).to_contain_text("NameError: name 'nope' is not defined")
    row.click()
    tab.shows("coderunner.desk.project.active", "lib/words.py")
    tab.shows(CURSOR, lambda now: now[0] == 2)
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    tab.reload()
    tab.ended("Ended with exit code 1")
    page.wait_for_selector("#problems button")  # told again to a page that attaches
    tab.code("def say():\n    print('mended')\n").run()
    tab.ended("Finished")
    assert tab.text().endswith("mended")
    expect(page.locator("#problems")).to_be_hidden()
    expect(page.locator(".cm-lint-marker")).to_have_count(0)


def test_compile_errors_and_warnings_are_problems(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab().language("C")
    tab.run("int main(void) {\n    int unused;\n    return 1 +;\n}\n")
    tab.ended("Did not compile")
    tab.page.wait_for_selector("#problems button")
    text = tab.page.locator("#problems button", has_text="main.c:3:").inner_text()
    assert "expected expression" in text
    tab.page.click("#problems button:has-text('main.c:3:')")
    tab.shows(CURSOR, [3, 15])


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
    tab.shows(CURSOR, lambda now: now[0] == 2)


def test_problems_on_a_phone(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(viewport={"width": 390, "height": 760}, has_touch=True, is_mobile=True).language("Python")
    two_files(tab, words="def say():\n    input()\n")
    tab.run().sees("begun")
    tell(tab)
    tab.shows("document.documentElement.scrollWidth", 390)
    tab.page.tap("#problems button")
    expect(tab.page.locator(".cm-content")).to_be_visible()
    tab.shows(CURSOR, [2, 5])
