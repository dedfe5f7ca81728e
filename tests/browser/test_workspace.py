"""The project beside its session's workspace: what programs write, both change, the user renames, uploads."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.tab import Tab

OWN = "#tree li:not(.made):not(.section)"
MADE = "#tree li.made"
PHONE = {"viewport": {"width": 390, "height": 760}, "has_touch": True, "is_mobile": True}


def names(page: Page, which: str) -> list[str]:
    return page.locator(f"{which} .name").all_inner_texts()


def answer(page: Page, value: str) -> None:
    page.fill("#ask-input", value)
    page.click("#ask-ok")


def session_of(tab: Tab) -> str:
    return str(tab.get("coderunner.desk.session.id"))


def act(tab: Tab, path: str, words: str) -> None:
    """An entry of the menu of a file or folder in the tree."""
    row = tab.page.locator(f"#tree li[data-path='{path}'], #tree li[data-folder='{path}']")
    row.first.click(button="right")
    tab.page.locator("#file-menu").get_by_role("menuitem", name=words).click()


def test_what_a_program_writes_is_in_the_tree_at_once(tab: Tab) -> None:
    page = tab.page
    tab.run(
        "import os\nos.makedirs('out/deep')\nopen('out/deep/log.txt', 'w').write('first\\n')\n"
        "open('data.bin', 'wb').write(bytes(range(256)))\ninput('> ')\n"
        "open('out/deep/log.txt', 'a').write('second\\n')\n"
    ).sees("> ")
    page.wait_for_selector(f"{MADE}[data-path='data.bin']", timeout=5000)
    assert names(page, OWN) == ["main.py"]
    assert names(page, MADE) == ["out", "data.bin"]
    page.click("#tree li[data-folder='out']")
    page.focus("#tree li[data-folder='out/deep']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    tab.until("document.querySelector('.cm-content').innerText.trim() === 'first'")
    expect(page.locator("#tabs .made")).to_have_text("log.txt", use_inner_text=True)
    page.click("#program-term")
    tab.type("\n")
    tab.ended("Finished")
    tab.until("document.querySelector('.cm-content').innerText.trim() === 'first\\nsecond'")
    # What is no text is told, and can be saved.
    page.click(f"{MADE}[data-path='data.bin']")
    page.wait_for_selector("#viewer[open]")
    expect(page.locator("#viewer-body")).to_contain_text("neither a text nor a picture", use_inner_text=True)
    with page.expect_download() as download:
        page.click("#viewer-save")
    assert Path(download.value.path()).read_bytes() == bytes(range(256))
    page.keyboard.press("Escape")
    # Edited, it is the project's; the next run finds what was written.
    page.click("#tabs [role=tab]:has-text('log.txt')")
    page.click(".cm-content")
    page.keyboard.press("Control+Home")
    tab.type("mine\n")
    tab.until(f"document.querySelectorAll({OWN!r}).length === 4")
    page.click("#tree li[data-path='main.py']")
    tab.run("print(open('out/deep/log.txt').read())\n")
    tab.ended("Finished")
    assert tab.text().split() == ["mine", "first", "second"]


def test_renaming_and_deleting_need_no_new_session(tab: Tab) -> None:
    page = tab.page
    tab.get("coderunner.desk.project.create('old.py', 'WORD = 1\\n')")
    page.click("#tree li[data-path='main.py']")
    tab.run("import glob\nopen('made.txt', 'w').write('x')\nprint(sorted(glob.glob('*')))\n")
    tab.ended("Finished")
    session = session_of(tab)
    assert tab.text() == "['made.txt', 'main.py', 'old.py']"
    act(tab, "old.py", "Rename…")
    answer(page, "lib/new.py")
    page.click("#tree li[data-path='main.py']")
    tab.run()
    tab.ended("Finished")
    assert tab.text() == "['lib', 'made.txt', 'main.py']"
    act(tab, "lib", "Rename…")
    answer(page, "other")
    act(tab, "made.txt", "Rename…")
    answer(page, "other/moved.txt")
    page.wait_for_selector(f"{MADE}[data-folder='other']")
    tab.run("import glob, os\nprint(sorted(glob.glob('*')), sorted(os.listdir('other')))\n")
    tab.ended("Finished")
    assert tab.text() == "['main.py', 'other'] ['moved.txt', 'new.py']"
    act(tab, "other", "Delete…")
    page.click("#ask-ok")
    tab.until(f"document.querySelectorAll({MADE!r}).length === 0")
    tab.run("import glob, os\nprint(sorted(glob.glob('*')))\n")
    tab.ended("Finished")
    assert tab.text() == "['main.py']"
    assert session_of(tab) == session


def test_nothing_is_overwritten_silently(tab: Tab) -> None:
    page = tab.page
    tab.get("coderunner.desk.project.create('data.txt', 'mine 1')")
    page.click("#tree li[data-path='main.py']")
    write = "open('data.txt', 'a').write(' its')\n"
    tab.run(write + "print(open('data.txt').read())\n")
    tab.ended("Finished")
    # Changed by the program only: the project has it, and undoing brings back what was.
    page.click("#tree li[data-path='data.txt']")
    tab.until("document.querySelector('.cm-content').innerText === 'mine 1 its'")
    page.click("#tree li[data-path='main.py']")
    tab.run(write + "print(open('data.txt').read())\ninput('> ')\n" + write).sees("mine 1 its its")
    # Changed by both: the user is asked, and until then programs have theirs.
    tab.get("coderunner.desk.project.show('data.txt')")
    tab.code("mine 2")
    page.click("#program-term")
    tab.type("\n")
    tab.ended("Finished")
    tab.banner("was changed by a program and by you.")
    expect(page.locator("#tree li[data-path='data.txt'] .clash")).to_have_count(1)
    page.click("#tree li[data-path='main.py']")
    tab.run("print(open('data.txt').read())\n")
    tab.ended("Finished")
    assert tab.text() == "mine 1 its its its"
    page.click("text=Keep mine")
    tab.run()
    tab.ended("Finished")
    assert tab.text() == "mine 2"
    expect(page.locator(".clash")).to_have_count(0)


def test_a_shell_finds_what_was_edited(tab: Tab) -> None:
    tab.run("print('first')\n")
    tab.ended("Finished")
    tab.shell()
    tab.page.click(".cm-content")
    tab.code("print('second')\n")
    tab.page.click("#shell-term")
    tab.until("!coderunner.desk.mirror.busy")
    tab.type("python3 main.py\n").sees("\nsecond", "shell")


def test_a_reload_keeps_what_is_known_of_the_workspace(tab: Tab) -> None:
    tab.run("open('made.txt', 'w').write('kept')\nprint('done')\n")
    tab.ended("Finished")
    tab.page.wait_for_selector(f"{MADE}[data-path='made.txt']")
    tab.reload()
    tab.page.wait_for_selector(f"{MADE}[data-path='made.txt']")
    tab.page.click(f"{MADE}[data-path='made.txt']")
    tab.until("document.querySelector('.cm-content').innerText === 'kept'")
    expect(tab.page.locator(".banner")).to_have_count(0)


def archive(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as whole:
        for path, data in files.items():
            whole.writestr(path, data)
    return sink.getvalue()


def give(page: Page, *files: tuple[str, bytes]) -> None:
    page.set_input_files(
        "#upload-input",
        [{"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in files],
    )


def test_how_large_a_file_may_be_is_said_before(tab: Tab) -> None:
    tab.page.click("#transfer")
    said = "document.getElementById('transfer-menu').innerText"
    tab.shows(said, lambda text: re.search(r"\d+ MB a file", text))


def test_files_and_archives_are_uploaded(tab: Tab) -> None:
    page = tab.page
    give(page, ("words.txt", b"one two\n"))
    page.wait_for_selector(f"{OWN}[data-path='words.txt']")
    give(page, ("words.txt", b"three\n"))
    page.wait_for_selector("#ask-dialog[open]")
    page.click("#ask-cancel")
    tab.shows("coderunner.desk.project.files.get('words.txt')", "one two\n")
    give(page, ("evil.zip", archive({"pack/a.py": b"A = 1\n", "../up": b"no"})))
    page.click("#ask-ok")
    tab.banner("cannot be taken.")
    assert names(page, OWN) == ["main.py", "words.txt"]
    give(page, ("pack.zip", archive({"pack/a.py": "A = 'ü'\n".encode(), "pack/raw.bin": b"\xff\x00\xfe"})))
    page.click("#ask-ok")
    page.wait_for_selector(f"{OWN}[data-path='pack/raw.bin']")
    tab.banner("2 files uploaded.")
    page.click("#tree li[data-path='main.py']")
    tab.run("from pack.a import A\nprint(A, open('pack/raw.bin', 'rb').read(), open('words.txt').read())\n")
    tab.ended("Finished")
    assert tab.text() == "ü b'\\xff\\x00\\xfe' one two"
    give(page, ("empty.zip", archive({})))
    page.click("#ask-ok")
    tab.banner("There is no file in it.")
    give(page, ("kept.zip", archive({"x": b"x"})))
    page.click("#ask-other")
    page.wait_for_selector(f"{OWN}[data-path='kept.zip']")
    # Too large for the server: named, with the bound in words; the others come.
    give(page, ("large.bin", b"\xff" * (16 * 1024 * 1024 + 1)), ("small.bin", b"\xff\x01"))
    tab.banner("Left out: “large.bin”. A file may have 16 MB at most.")  # kept.zip was one file, too
    tab.banner("1 file uploaded.")
    # What is no text is the project's, too: it is there in the next session.
    tab.reload()
    tab.get("coderunner.desk.end()")
    tab.run("print(open('small.bin', 'rb').read(), open('pack/raw.bin', 'rb').read())\n")
    tab.ended("Finished")
    assert tab.text() == "b'\\xff\\x01' b'\\xff\\x00\\xfe'"
    # Names as macOS writes them, and the line ends of Windows.
    give(page, ("u\u0308.txt", b"one\r\ntwo\r\n"))
    page.wait_for_selector(f"{OWN}[data-path='ü.txt']")
    page.click(f"{OWN}[data-path='ü.txt']")
    page.click(".cm-content")
    page.keyboard.press("Control+Home")
    tab.type("first\n")
    page.click("#tree li[data-path='main.py']")
    tab.run("print(open('ü.txt', 'rb').read())\n")
    tab.ended("Finished")
    assert tab.text() == "b'first\\r\\none\\r\\ntwo\\r\\n'"


def packed_on_windows() -> bytes:
    """Backslashes between folders, and names in the code page of DOS, as no flag says."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as whole:
        for path, data in (("src/lX.py", b"A = 1\n"), ("src/b.py", b"B = 2\n")):
            entry = zipfile.ZipInfo(path)
            entry.create_system = 0
            whole.writestr(entry, data)
    return sink.getvalue().replace(b"src/lX.py", b"src\\l\x81.py").replace(b"src/b.py", b"src\\b.py")


def test_archives_of_windows_and_every_kind_of_line_end(tab: Tab) -> None:
    page = tab.page
    give(page, ("pack.zip", packed_on_windows()))
    page.click("#ask-ok")
    page.wait_for_selector(f"{OWN}[data-path='src/lü.py']")
    assert names(page, OWN) == ["src", "b.py", "lü.py", "main.py"]
    give(page, ("old.txt", b"one\rtwo\r"), ("mixed.txt", b"one\r\ntwo\nthree\r"))
    for path in ("old.txt", "mixed.txt"):
        page.click(f"{OWN}[data-path='{path}']")
        page.click(".cm-content")
        page.keyboard.press("Control+Home")
        tab.type("x")
    page.click("#tree li[data-path='main.py']")
    tab.run("for name in ('old', 'mixed'): print(open(name + '.txt', 'rb').read())\n")
    tab.ended("Finished")
    assert tab.text() == "b'xone\\rtwo\\r'\nb'xone\\r\\ntwo\\nthree\\r'"


def test_a_text_that_the_editor_does_not_take_is_shown(tab: Tab) -> None:
    page = tab.page
    long = "".join(f"line {number} é\n" for number in range(160_000))
    give(
        page,
        ("long.txt", long.encode()),
        ("old.txt", "Grüße aus Köln\n".encode("cp1252")),
        ("wide.txt", "Grüße\n".encode("utf-16")),
        ("raw.bin", bytes(range(256))),
    )
    tab.banner("4 files uploaded.")
    body = page.locator("#viewer-body")
    for name, words, why in (
        ("long.txt", "line 12345 é\n", "The first 256 KB of a text in UTF-8"),
        ("old.txt", "Grüße aus Köln", "A read-only text in Windows-1252"),
        ("wide.txt", "Grüße", "A read-only text in UTF-16LE"),
        ("raw.bin", "", "neither a text nor a picture"),
    ):
        page.click(f"{OWN}[data-path='{name}']")
        expect(body).to_contain_text(why)
        assert words in body.inner_text()
        page.keyboard.press("Escape")
        expect(page.locator("#viewer")).to_be_hidden()
    # One that a program made is fetched by its beginning.
    tab.run("open('made.txt', 'w').write('much text\\n' * 200_000)\n")
    tab.ended("Finished")
    page.click("#tree li.made[data-path='made.txt']")
    expect(body).to_contain_text("The first 256 KB")
    assert "much text" in body.inner_text()


def test_files_are_dropped(tab: Tab) -> None:
    tab.get("""() => { const transfer = new DataTransfer();
        transfer.items.add(new File(['dropped'], 'note.txt'));
        for (const type of ['dragenter', 'dragover', 'drop']) {
            document.querySelector('.cm-content').dispatchEvent(new DragEvent(type,
                { dataTransfer: transfer, bubbles: true, cancelable: true, composed: true }));
        } }""")
    tab.page.wait_for_selector(f"{OWN}[data-path='note.txt']")
    expect(tab.page.locator(".cm-content")).to_have_text("dropped", use_inner_text=True)


def downloaded(tab: Tab, words: str) -> dict[str, bytes]:
    tab.page.click("#transfer")
    with tab.page.expect_download() as download:
        tab.page.get_by_role("menuitem", name=words).click()
    with zipfile.ZipFile(download.value.path()) as whole:
        assert whole.testzip() is None
        return {name: whole.read(name) for name in whole.namelist()}


def test_everything_is_downloaded(tab: Tab) -> None:
    tab.code("open('made.bin', 'wb').write(b'\\xff')\n")
    tab.get("coderunner.desk.project.create('lib/ü.txt', 'text')")
    own = downloaded(tab, "Download the project")
    assert own["lib/ü.txt"] == b"text"
    assert sorted(own) == ["lib/ü.txt", "main.py"]
    tab.run()
    tab.ended("Finished")
    both = downloaded(tab, "Download with what programs made")
    assert {path: data for path, data in both.items() if not path.endswith("/")} == {
        **own, "made.bin": b"\xff",
    }  # fmt: skip


def test_standard_input_is_a_file(tab: Tab) -> None:
    page = tab.page
    tab.get("coderunner.desk.project.create('in.txt', 'first\\nsecond\\n')")
    page.click("#tree li[data-path='main.py']")
    tab.code("import sys\nprint([line.strip() for line in sys.stdin], sys.stdout.isatty())\n")
    page.click("#options")
    page.select_option("#stdin-file", "in.txt")
    page.keyboard.press("Escape")
    expect(page.locator("#options-summary")).to_have_text("< in.txt", use_inner_text=True)
    tab.run()
    tab.ended("Finished")
    assert tab.text() == "['first', 'second'] True"
    tab.pipes().run()
    tab.ended("Finished")
    assert tab.text() == "['first', 'second'] False"


@pytest.mark.parametrize("options", [PHONE], ids=["phone"])
def test_the_workspace_on_a_phone(open_tab: Callable[..., Tab], options: dict[str, object]) -> None:
    tab = open_tab(**options).language("Python")
    tab.run("open('a-rather-long-name-of-a-result.txt', 'w').write('text')\n")
    tab.ended("Finished")
    page = tab.page
    page.tap(".views [data-view=files]")
    page.wait_for_selector(MADE)
    tab.shows("document.documentElement.scrollWidth", 390)
    page.tap(f"{MADE} .name")
    tab.until("document.querySelector('.cm-content').innerText === 'text'")
    expect(page.locator(".cm-content")).to_be_visible()


COUNTS = "import pathlib\nprint(sum(p.stat().st_size for p in pathlib.Path().glob('*.txt')), 'bytes')\n"


@pytest.mark.parametrize(
    ("count", "size", "first"), [(2, 60_000, "shell"), (14, 250_000, "shell"), (14, 250_000, "run")]
)
def test_a_project_of_any_size_is_there(tab: Tab, count: int, size: int, first: str) -> None:
    """More than may come before a session is open, and more than one message holds."""
    tab.language("Python").code(COUNTS)
    tab.get(
        """([count, size]) => { for (let n = 0; n < count; n++)
            coderunner.desk.project.create(`data${n}.txt`, 'x'.repeat(size)); }""",
        [count, size],
    )
    if first == "shell":
        tab.shell().type("cat *.txt | wc -c\n")
        tab.sees(f"\n{count * size}", "shell")
    tab.run().sees(f"{count * size} bytes")
    tab.ended("Finished")


@pytest.mark.long
def test_a_thousand_files_take_a_few_requests(tab: Tab) -> None:
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    tab.get(
        "() => coderunner.desk.project.put([...Array.from({ length: 1000 }, (_, at) =>"
        " ({ path: `src/${at % 20}/f${at}.txt`, content: `file ${at}\\n`.repeat(140) })),"
        " { path: 'main.py', content:"
        ' \'import os\\nprint(sum(len(f) for *_, f in os.walk("src")), "there")\' }])'
    )
    tab.page.keyboard.press("Control+Enter")
    tab.sees("1000 there", seconds=120)
    tab.until("!coderunner.desk.mirror.busy", seconds=120)
    files = [one for one in asked if "/api/sessions/" in one]
    assert len(files) < 20, files
    assert not tab.get("coderunner.desk.mirror.conflicts.size")
