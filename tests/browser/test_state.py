"""What the user wrote: nothing of it is lost, also where two tabs, a reload or a closed file come between."""

from __future__ import annotations

import json
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.tab import Tab
from tests.harness import Server

SAVED = "!coderunner.desk.project.unsaved"


def content(tab: Tab) -> str:
    return str(tab.get("coderunner.editor.view.state.doc.toString()"))


def shows(tab: Tab, text: str) -> None:
    tab.until(f"coderunner.editor.view.state.doc.toString() === {text!r}")


def beside(open_tab: Callable[..., Tab], tab: Tab) -> Tab:
    """Another tab of the same browser, with the same project."""
    return open_tab(beside=tab)


def test_no_file_open_is_a_state_of_its_own(tab: Tab) -> None:
    page = tab.page
    tab.code("print('kept')\n")
    page.click("#tabs [aria-label='Close main.py']")
    expect(page.locator("#no-file")).to_be_visible()
    expect(page.locator(".cm-content")).to_be_hidden()
    page.mouse.click(640, 400)
    tab.type("lost?")
    tab.run()
    tab.ended("Finished")
    assert tab.text() == "kept"
    tab.reload()
    expect(page.locator("#no-file")).to_be_visible()
    page.click("#tree li[data-path='main.py']")
    assert content(tab) == "print('kept')\n"
    page.click(".cm-content")
    page.keyboard.press("Control+End")
    tab.type("print('more')")
    tab.until(SAVED)
    tab.reload()
    assert content(tab) == "print('kept')\nprint('more')"
    # The last file deleted, and a new one made from there.
    page.focus("#tree li[data-path='main.py']")
    page.keyboard.press("Delete")
    page.click("#ask-ok")
    page.click("#no-file-new")
    page.fill("#ask-input", "other.py")
    page.click("#ask-ok")
    page.click(".cm-content")
    tab.type("x = 1")
    assert content(tab) == "x = 1"


def test_tabs_see_each_other_and_overwrite_nothing(open_tab: Callable[..., Tab], tab: Tab) -> None:
    old = tab.code("old\n")
    old.until(SAVED)
    new = beside(open_tab, old)
    shows(new, "old\n")
    new.code("newer\n")
    new.page.click("#options")
    new.page.fill("#args", "one two")
    new.page.keyboard.press("Escape")
    shows(old, "newer\n")
    old.until("coderunner.desk.project.args.join() === 'one,two'")
    # What an old tab did again and again: it goes, changes its language, has a session.
    old.run().ended("Ended with exit code 1")
    old.get("dispatchEvent(new Event('pagehide'))")
    old.language("Bash").language("Python")
    new.code("newest\n")
    new.until(SAVED)
    old.reload()
    shows(old, "newest\n")
    old.page.close()
    new.reload()
    shows(new, "newest\n")
    new.shows("coderunner.desk.project.args.join()", "one,two")
    expect(new.page.locator(".banner")).to_have_count(0)


def test_both_versions_of_a_true_conflict_are_kept(open_tab: Callable[..., Tab], tab: Tab) -> None:
    one = tab
    two = beside(open_tab, one)
    # Both in the same moment: neither has heard of the other yet.
    one.get("coderunner.desk.project.told = () => {}")
    two.get("coderunner.desk.project.told = () => {}")
    one.code("of one\n")
    one.until(SAVED)
    two.code("of two\n")
    two.banner("was changed in another tab as well.")
    assert content(two) == "of two\n"
    two.until(SAVED)
    two.reload()
    files = two.get(
        "Object.fromEntries(coderunner.desk.project.list().map((one) => [one.path, one.content]))"
    )
    assert files == {"main.py": "of one\n", "main (2).py": "of two\n"}


def test_a_project_that_another_tab_deletes_is_told(open_tab: Callable[..., Tab], tab: Tab) -> None:
    tab.get("coderunner.desk.project.edit('main.py', 'x = 1')")
    tab.until(SAVED)
    other = beside(open_tab, tab)
    shows(other, "x = 1")
    other.page.click("#project")
    other.page.locator("#project-menu .bad").click()
    other.page.click("#ask-ok")
    tab.banner("was deleted in another tab.")
    tab.until("coderunner.desk.project.text('main.py') !== 'x = 1'")


def test_what_was_typed_last_survives_the_page(tab: Tab) -> None:
    for word in ("first", "second"):
        tab.code(f"{word}\n")
        tab.reload()  # within the moment that saving waits for more
        assert content(tab) == f"{word}\n"


def test_undo_survives_a_reload_and_a_change_of_language(tab: Tab) -> None:
    page = tab.page
    tab.code("first\n").code("second\n")
    tab.until(SAVED)
    page.wait_for_timeout(100)
    tab.reload()
    page.click(".cm-content")
    page.keyboard.press("Control+z")
    assert content(tab) != "second\n"
    page.keyboard.press("Control+y")
    assert content(tab) == "second\n"
    tab.language("Bash").language("Python")
    shows(tab, "second\n")
    page.click(".cm-content")
    page.keyboard.press("Control+z")
    assert content(tab) != "second\n"


def test_a_sample_takes_the_place_of_nothing(tab: Tab) -> None:
    page = tab.page
    tab.code("mine\n")
    page.click("#samples")
    page.locator("#samples-menu [role=menuitem]").nth(1).click()
    tab.until("coderunner.editor.view.state.doc.toString() !== 'mine\\n'")
    page.click("#project")
    page.wait_for_selector("#project-menu [role=menuitemradio] >> nth=1")
    rows = page.locator("#project-menu [role=menuitemradio]")
    expect(rows).to_have_count(2)
    rows.nth(1).click()
    shows(tab, "mine\n")


def test_several_named_projects(tab: Tab) -> None:
    page = tab.page
    tab.code("one\n")
    page.click("#project")
    page.get_by_role("menuitem", name="New project…").click()
    page.fill("#ask-input", "Homework")
    page.click("#ask-ok")
    tab.until("document.title.startsWith('Homework')")
    tab.code("print('homework')\n").run()
    tab.ended("Finished")
    session = tab.get("coderunner.desk.session.id")
    tab.reload()
    expect(page.locator("#project-name")).to_have_text("Homework", use_inner_text=True)
    tab.until("coderunner.desk.session?.phase === 'open'")
    tab.shows("coderunner.desk.session.id", session)
    page.click("#project")
    page.wait_for_selector("#project-menu [role=menuitemradio] >> nth=1")
    page.get_by_role("menuitem", name="Delete…").click()
    page.click("#ask-ok")
    shows(tab, "one\n")


def test_a_running_program_is_not_ended_without_a_word(tab: Tab) -> None:
    page = tab.page
    tab.run("open('made.txt', 'w').write('x')\nprint('busy')\ninput()\n").sees("busy")
    page.wait_for_selector("#tree li.made")
    tab.language("Bash")
    expect(page.locator("#program-of")).to_be_visible()
    page.click(".cm-content")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#ask-dialog[open]")
    expect(page.locator("#ask-title")).to_have_text("End the running program?", use_inner_text=True)
    page.click("#ask-cancel")
    tab.language("Python")
    expect(page.locator("#program-of")).to_be_hidden()
    page.click("#program-term")
    tab.type("\n")
    tab.ended("Finished")
    page.click("#more")
    page.get_by_role("menuitem", name="End the session").click()
    page.wait_for_selector("#ask-dialog[open]")
    page.click("#ask-cancel")
    tab.shows("coderunner.desk.session.phase", "open")


def test_a_store_that_keeps_nothing_is_told_and_asked_about(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(load=False)
    tab.page.add_init_script("indexedDB.open = () => { throw new DOMException('no', 'SecurityError'); };")
    tab.allowed.append("WebSocket is closed before")  # the page goes while its session is looked for
    tab.open().language("Bash").language("Python")
    tab.code("print('runs')\n").run()
    tab.ended("Finished")
    tab.banner("This browser does not keep your files.")
    tab.language("Bash").language("Python")
    shows(tab, "print('runs')\n")
    asked = []
    tab.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    tab.page.click(".cm-content")  # a browser asks only where the user did something
    tab.page.reload()
    assert asked == ["beforeunload"]


FULL = """(() => {
    const put = IDBObjectStore.prototype.put;
    window.full = true;
    IDBObjectStore.prototype.put = function (...given) {
        window.tried = (window.tried ?? 0) + 1;
        if (window.full && this.name === 'records') throw new DOMException('full', 'QuotaExceededError');
        return put.apply(this, given);
    };
})()"""


def test_a_full_store_is_told_once_and_asked_about(tab: Tab) -> None:
    tab.get(FULL)
    tab.page.click(".cm-content")
    tab.type("x")
    tab.banner("Its storage is full.")
    tab.page.click(".banner [aria-label]")
    tab.page.wait_for_selector(".banner", state="detached")
    tab.page.click(".cm-content")
    tried = tab.get("window.tried")
    tab.type("y")
    tab.until(f"window.tried > {tried}")
    expect(tab.page.locator(".banner")).to_have_count(0)
    tab.page.once("dialog", lambda dialog: dialog.dismiss())
    with tab.page.expect_event("dialog") as asked:
        tab.get("setTimeout(() => location.reload())")
    assert asked.value.type == "beforeunload"
    tab.get("window.full = false")
    tab.until(SAVED)
    tab.reload()
    assert "xy" in content(tab) or "yx" in content(tab)


BEFORE = {
    "files": [{"path": "main.py", "content": "print(42)"}], "entry": "main.py", "args": ["x"], "env": "A=1",
    "stdin": None, "mode": "pipe", "open": ["main.py"], "active": "main.py", "touched": True,
}  # fmt: skip


def test_the_data_of_the_site_are_deleted_while_the_page_is_open(
    open_tab: Callable[..., Tab], tab: Tab
) -> None:
    tab.code("print('first')\n")
    tab.get("coderunner.desk.project.create('other.py', 'other = 1\\n')")
    tab.until(SAVED)
    cdp = tab.page.context.new_cdp_session(tab.page)
    cdp.send("Storage.clearDataForOrigin", {"origin": tab.url.rstrip("/"), "storageTypes": "all"})
    tab.get("coderunner.desk.project.show('main.py')")
    tab.code("print('second')\n")
    tab.until(f"{SAVED} && coderunner.desk.project.trouble === null")
    expect(tab.page.locator(".banner")).to_have_count(0)
    later = beside(open_tab, tab).language("Python")
    shows(later, "print('second')\n")
    assert later.get("coderunner.desk.project.paths") == ["main.py", "other.py"]
    assert later.get("coderunner.desk.project.text('other.py')") == "other = 1\n"
    later.code("print('third')\n")
    shows(tab, "print('third')\n")


def test_a_project_of_before_the_library_is_taken_over(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(load=False)
    kept = f"localStorage.setItem('coderunner:project:python', {json.dumps(BEFORE)!r})"
    tab.page.add_init_script(f"if (!sessionStorage.seen) {kept}; sessionStorage.seen = '1';")
    tab.open().language("Python")
    shows(tab, "print(42)")
    tab.shows("[coderunner.desk.project.args, coderunner.desk.project.mode]", [["x"], "pipe"])
    tab.reload()
    shows(tab, "print(42)")
    tab.shows("localStorage.getItem('coderunner:project:python')", None)


def test_an_unclosed_quote_is_told_and_nothing_runs(tab: Tab) -> None:
    page = tab.page
    tab.code("import sys\nprint(sys.argv[1:])\n")
    page.click("#options")
    page.fill("#args", "one 'two")
    page.keyboard.press("Escape")
    tab.run()
    expect(page.locator("#options-menu")).to_be_visible()
    expect(page.locator("#args")).to_be_focused()
    expect(page.locator("#args-hint")).to_have_text("A quote is not closed.", use_inner_text=True)
    tab.shows("coderunner.screens.program.channel", None)
    page.fill("#args", "one 'two'")
    page.keyboard.press("Enter")
    tab.run()
    tab.ended("Finished")
    assert tab.text() == "['one', 'two']"


def test_a_double_click_on_run_runs(tab: Tab) -> None:
    tab.code("print('through', input())\n")
    tab.page.dblclick("#run")
    tab.until("coderunner.screens.program.channel?.phase === 'running'")
    tab.page.click("#program-term")
    tab.type("x\n")
    tab.ended("Finished")


def test_keys_that_editors_have(tab: Tab) -> None:
    page = tab.page
    tab.code("one\ntwo\nthree\n")
    page.click(".cm-content")
    page.keyboard.press("Control+s")
    tab.until(SAVED)
    page.keyboard.press("Control+g")
    page.wait_for_selector(".cm-goto-line")
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    tab.until("document.getElementById('cursor-text').textContent.startsWith('Line 3')")
    tab.run("x = 1\n\n1 / 0\n")
    tab.ended("Ended with exit code 1")
    page.wait_for_selector("#problems:not([hidden])")
    page.click(".cm-content")
    page.keyboard.press("Control+Home")
    page.keyboard.press("F8")
    tab.until("document.getElementById('cursor-text').textContent.startsWith('Line 3')")


def test_no_question_is_left_to_the_browser(tab: Tab) -> None:
    """Ctrl-S in a dialog, and a name in the decomposed form that macOS has."""
    page = tab.page
    tab.get(
        """() => addEventListener('keydown', (event) => setTimeout(() => {
            window.ours = event.defaultPrevented;
        }), true)"""
    )
    page.click("#new-file")
    page.keyboard.press("Control+s")
    tab.until("window.ours === true")
    expect(page.locator("#ask-dialog")).to_be_visible()
    page.fill("#ask-input", "cafe\u0301.py")
    page.click("#ask-ok")
    tab.until("coderunner.desk.project.active === 'caf\\u00e9.py'")


def test_each_file_has_its_own_indentation(tab: Tab) -> None:
    page = tab.page
    files = {
        ".editorconfig": "root = true\n[*.txt]\nindent_style = space\nindent_size = 8\n",
        "Makefile": "all:\n",
        "tabs.py": "def f():\n\treturn 1\n",
        "two.js": "if (a) {\n  b\n}\n",
        "wide.txt": "",
        "new.py": "",
    }
    for path, text in files.items():
        tab.get("([path, text]) => coderunner.desk.project.create(path, text)", [path, text])
    for path, indent in {
        "Makefile": "\t", "tabs.py": "\t", "two.js": "  ", "wide.txt": " " * 8, "new.py": " " * 4
    }.items():  # fmt: skip
        tab.get("(path) => coderunner.desk.project.show(path)", path)
        tab.until(f"coderunner.editor.view.state.doc.toString() === {json.dumps(files[path])}")
        page.click(".cm-content")
        page.keyboard.press("Control+End")
        page.keyboard.press("Tab")
        shows(tab, files[path] + indent)


def test_a_first_visit_begins_with_the_language_that_most_want(
    server: Server, open_tab: Callable[..., Tab]
) -> None:
    document = server.get("api/languages")
    assert document["languages"][0]["name"] == "python"
    science = {**document["languages"][0], "name": "python-science", "title": "Python (science)"}
    tab = open_tab(load=False)
    languages = json.dumps({**document, "languages": [*document["languages"], science]})
    tab.page.route(
        "**/api/languages*", lambda route: route.fulfill(content_type="application/json", body=languages)
    )
    tab.open()
    tab.shows("coderunner.desk.project.language.title", "Python")
    expect(tab.page.locator("#language-name")).to_have_text("Python", use_inner_text=True)
