"""Programs: run, typed into, interrupted, and how their end is told."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.tab import Tab

COUNT_FOREVER = (
    "import time\nn = 0\nwhile True:\n    print(n, flush=True)\n    n += 1\n    time.sleep(0.01)\n"
)


def test_a_program_asks_and_is_answered(tab: Tab) -> None:
    tab.run('name = input("What is your name? ")\nprint(f"Hello, {name}!")\n').sees("What is your name?")
    tab.type("Grace\n")
    outcome = tab.ended("Finished")
    assert tab.text() == "What is your name? Grace\nHello, Grace!"
    assert re.search(r"exit code 0 · [\d.]+ m?s · CPU [\d.]+ m?s · memory [\d.]+ MB", outcome)


def test_code_is_typed_into_the_editor(tab: Tab) -> None:
    tab.code("")
    tab.page.click(".cm-content")
    tab.type("for i in range(3):\nprint(i * 7)")  # the editor indents and closes the brackets
    tab.page.keyboard.press("Control+Enter")
    tab.ended("Finished")
    assert tab.text() == "0\n7\n14"


def test_ctrl_c_ends_a_loop(tab: Tab) -> None:
    tab.run(COUNT_FOREVER).sees("\n5\n")
    tab.page.keyboard.press("Control+c")
    tab.ended("Ended by signal SIGINT (interrupted)")
    assert "KeyboardInterrupt" in tab.text()


@pytest.mark.timed
def test_ctrl_c_acts_at_once_under_a_flood(tab: Tab) -> None:
    tab.run("while True:\n    print('y' * 70)\n").sees("yyyy")
    tab.until("coderunner.screens.program.channel.consumed > 1_500_000")  # every buffer on the way is full
    before = tab.get("coderunner.screens.program.channel.consumed")
    tab.page.keyboard.press("Control+c")
    tab.ended("Ended by signal SIGINT")
    # What is shown after the key is what was on its way to the page, not what the program would go on with.
    assert tab.get("coderunner.screens.program.channel.consumed") - before < 4_000_000


def test_ctrl_c_with_a_selection_copies(tab: Tab) -> None:
    tab.run("print('take me')\ninput()\n").sees("take me")
    tab.get("coderunner.screens.program.view.term.select(0, 0, 7)")
    tab.page.keyboard.press("Control+c")
    tab.until("navigator.clipboard.readText().then((text) => text === 'take me')")
    tab.until("coderunner.screens.program.running")
    tab.type("\n")
    tab.ended("Finished")


def test_the_stop_button(tab: Tab) -> None:
    tab.run(
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('go')\nwhile True: pass\n"
    ).sees("go")
    expect(tab.page.locator("#run")).to_be_hidden()
    tab.page.click("#stop")
    tab.ended("Stopped")
    expect(tab.page.locator("#run")).to_be_visible()


def test_running_again_stops_the_first(tab: Tab) -> None:
    tab.run("print('first')\ninput()\n").sees("first")
    tab.code("print('second')\n")
    tab.page.keyboard.press("Control+Enter")
    tab.sees("second")
    tab.ended("Finished")
    assert tab.text() == "second"


def test_endings_in_words(tab: Tab) -> None:
    tab.run("import sys\nsys.exit(7)\n")
    tab.ended("Ended with exit code 7")
    tab.run("import os\nos.abort()\n")
    tab.ended("Ended by signal SIGABRT (it aborted)")
    tab.run("1 / 0\n")
    tab.ended("Ended with exit code 1")
    assert "ZeroDivisionError" in tab.text()
    tab.run("x = []\nwhile True: x.append(b'x' * 10_000_000)\n")
    assert re.match(r"Ran out of memory|Ended with exit code 1", tab.ended("")), (
        "told by the kernel or by Python itself"
    )
    tab.run("import os, time\nif os.fork() == 0:\n    time.sleep(60)\nprint('gone')\n")
    assert "1 process left behind was ended" in tab.ended("Finished")


def test_a_compile_error_is_shown(tab: Tab) -> None:
    tab.language("C++").run("int main() { return oops; }\n")
    tab.ended("Did not compile")
    assert "‘oops’ was not declared" in tab.text() or "'oops' was not declared" in tab.text()


def test_arguments(tab: Tab) -> None:
    tab.page.click("#options")
    tab.page.fill("#args", "one 'two words' ü")
    tab.page.keyboard.press("Enter")
    tab.run("import sys\nprint(sys.argv[1:])\n")
    tab.ended("Finished")
    assert tab.text() == "['one', 'two words', 'ü']"


def test_pipes_have_lines_an_end_and_two_outputs(tab: Tab) -> None:
    tab.pipes().run(
        "import sys\nprint('ready', file=sys.stderr)\n"
        "data = sys.stdin.read()\nprint(repr(data), sys.stdin.isatty())\n"
    )
    tab.sees("ready")
    tab.page.fill("#stdin-text", "first line")
    tab.page.keyboard.press("Enter")
    tab.page.fill("#stdin-text", "no newline")
    tab.page.click("#stdin-eof")
    tab.ended("Finished")
    assert "'first line\\nno newline' False" in tab.text()


def test_the_first_size_and_later_ones_are_right(tab: Tab) -> None:
    tab.run(
        "import os, signal\nshow = lambda *_: print('size', *os.get_terminal_size(), flush=True)\nshow()\n"
        "signal.signal(signal.SIGWINCH, show)\ninput()\n"
    )
    first = tab.get("coderunner.screens.program.view.size")
    tab.sees(f"size {first['cols']} {first['rows']}")
    tab.page.set_viewport_size({"width": 900, "height": 600})
    tab.until(f"coderunner.screens.program.view.size.cols < {first['cols']}")
    second = tab.get("coderunner.screens.program.view.size")
    tab.sees(f"size {second['cols']} {second['rows']}")
    tab.type("\n")
    tab.ended("Finished")


def test_the_languages_prompt_takes_the_terminals_place(tab: Tab) -> None:
    tab.run("def area(r):\n    return 3 * r * r\n").ended("Finished")
    tab.shell()
    tab.page.click("#open-repl")
    tab.sees(">>> ", "shell")
    tab.page.click("#shell-term")
    tab.type("area(37)\n").sees("4107", "shell")


def test_a_terminal_beside_the_program(tab: Tab) -> None:
    tab.run("print('waiting')\nprint('got', input())\n").sees("waiting")
    tab.shell().type("ls; echo pid of it: $(pgrep -f main.py | wc -l) $((6 * 7))\n").sees("42\n", "shell")
    assert "main.py" in tab.text("shell")
    size = tab.get("coderunner.screens.shell.view.size")
    tab.type("stty size\n").sees(f"{size['rows']} {size['cols']}\n", "shell")
    tab.page.keyboard.press("F6")
    tab.page.click("#program-term")
    tab.type("it\n")
    tab.ended("Finished")
    assert tab.text() == "waiting\nit\ngot it"
    tab.page.click("#shell-term")
    tab.type("exit 3\n")
    tab.page.wait_for_selector("#shell-outcome:has-text('Ended with exit code 3')")
    tab.page.click("#restart-shell")
    tab.until("coderunner.screens.shell.running")


def test_a_large_paste_arrives_whole(tab: Tab) -> None:
    lines = "".join(f"{number:06d} {'abcdefghij' * 6}\n" for number in range(3000))
    tab.run(
        "import hashlib, sys, termios\n"
        "mode = termios.tcgetattr(0); mode[3] &= ~termios.ECHO; termios.tcsetattr(0, termios.TCSANOW, mode)\n"
        "print('paste')\nwhole = ''.join(sys.stdin.readline() for _ in range(3000))\n"
        "print(len(whole), hashlib.sha256(whole.encode()).hexdigest())\n"
    ).sees("paste")
    tab.get("(text) => navigator.clipboard.writeText(text)", lines)
    tab.page.keyboard.press("Control+v")
    tab.ended("Finished")
    assert tab.text() == f"paste\n{len(lines)} {hashlib.sha256(lines.encode()).hexdigest()}"


def test_colours_and_characters(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(color_scheme="dark").language("Python")
    tab.run("print('\\x1b[38;2;255;100;0mrgb\\x1b[0m ü 日本 🙂 \\x1b[1;31mred')\n")
    tab.ended("Finished")
    assert tab.text() == "rgb ü 日本 🙂 red"
    colour = tab.get(
        "getComputedStyle([...document.querySelectorAll('#program .xterm-rows span')]"
        ".find((span) => span.textContent === 'rgb')).color"
    )
    assert colour == "rgb(255, 100, 0)"


def test_the_session_is_ended_and_another_begins(tab: Tab) -> None:
    tab.run("print('one')\ninput()\n").sees("one")
    tab.page.click("#more")
    tab.page.get_by_role("menuitem", name="End the session").click()
    tab.page.click("#ask-ok")
    tab.ended("Ended with its session")
    tab.run("print('two')\n").sees("two")
    tab.ended("Finished")


def test_a_clock_that_jumps_changes_no_time(tab: Tab) -> None:
    tab.run("print('begun')\nwhile True: pass\n").sees("begun")
    lasts = tab.shows("document.getElementById('expiry-text').textContent", lambda now: "lasts" in now)
    tab.get("(() => { const now = Date.now; Date.now = () => now() + 2 * 3600_000; })()")
    tab.until("/^[1-9] s$/.test(document.querySelector('#outcome strong + span').textContent)")
    assert tab.get("document.getElementById('expiry-text').textContent") == lasts
    tab.page.click("#stop")
    tab.ended("Stopped")


def test_half_a_character_is_replaced_in_a_text_and_refused_in_an_argument(tab: Tab) -> None:
    tab.get(
        "(text) => coderunner.editor.view.dispatch({ changes: { from: 0, insert: text + '\\ud800' } })",
        "print(1) #",
    )
    tab.run().ended("Finished")
    assert tab.text() == "1"
    tab.get(
        "(text) => { const args = document.getElementById('args');"
        " args.value = text + '\\ud800'; args.dispatchEvent(new Event('input')); }",
        "word",
    )
    tab.run().banner("half a character")
