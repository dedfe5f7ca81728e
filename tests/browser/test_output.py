"""What programs write: sequences that would hold the page, links that lead elsewhere, widths."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.tab import Tab
from tests.reference import PAGE_WORK

WATCH = """() => { window.longest = 0; let last = performance.now();
    setInterval(() => {
        const now = performance.now();
        longest = Math.max(longest, now - last);
        last = now;
    }, 10); }"""
TIMES_WORK = 60  # what was mended held the page for over a minute

HOSTILE = {
    "numbers": r"for final in [*'STLMZI@PX', ' @', ' A']: out('x\x1b[999999999' + final)",
    "repeats": r"out(('x\x1b[999999999b' + 'e' + '\u0301' * 40 + '\x1b[999999999b') * 500)",
    "marks": r"out('e' + '\u0301' * 500_000); out('\n' + '\U0001f469\u200d' * 50_000)",
    "stray marks": r"out('\u0301' * 300_000)",
    "many marks": r"out(''.join('a' + chr(768 + i % 97) + chr(768 + i % 89) for i in range(60_000)))",
    "questions": r"out('\x1b[6n\x1b[c\x1b[5n\x1b]4;1;?\x07' * 50_000)",
    "resets": r"out('\x1bc\x1b#8\x1b[?1049h\x1b[?1049l' * 4000)",
    "strings": r"out('\x1b]4;' + '0;?;' * 200_000 + '\x07'); out('\x1bP' + 'x' * 500_000 + '\x1b\\')",
    "links": r"out('\x1b]8;id=1;http://a.example/\x07' + 'x\n' * 60_000 + '\x1b]8;;\x07')",
    "new characters": r"out(''.join(chr(i) for i in range(0xa0, 0x110000) if chr(i).isprintable()))",
    "broken": r"out('\x7f\x1b[5\x7f' * 60_000)",
}  # fmt: skip


@pytest.mark.timed
@pytest.mark.parametrize("name", HOSTILE)
def test_no_output_holds_the_page(tab: Tab, name: str) -> None:
    before = tab.get(PAGE_WORK)
    tab.get(WATCH)
    tab.run(
        "import sys\ndef out(text): sys.stdout.write(text); sys.stdout.flush()\n"
        f"out('begun\\n')\n{HOSTILE[name]}\n"
        "out('\\x1b[?1049l\\x1b[m\\nover\\n')\n"
    )
    tab.ended("Finished", seconds=60)
    tab.sees("over")
    longest = tab.get("longest")
    work = max(tab.get(PAGE_WORK), before)
    print(f"{name}: held for {longest:.0f} ms, a piece of work {work:.0f} ms")
    assert longest < TIMES_WORK * work
    tab.run("print('still here')\n").sees("still here")


def test_a_link_that_says_something_else_is_asked_about(tab: Tab) -> None:
    page = tab.page
    page.context.route("**://*.example/**", lambda route: route.fulfill(body="there"))
    tab.run(
        "link = lambda uri, text: print(f'\\x1b]8;;{uri}\\x07{text}\\x1b]8;;\\x07')\n"
        "link('https://evil.example/x', 'https://bank.example')\nlink('https://plain.example/', 'https://plain.example')\n"
        "print('https://bank.example@evil.example/y')\n"
    )
    tab.ended("Finished")

    def click(row: int) -> None:
        box = page.locator("#program-term .xterm-rows > div").nth(row).bounding_box()
        assert box
        page.mouse.move(box["x"] + 30, box["y"] + 6)
        page.mouse.move(box["x"] + 40, box["y"] + 6)
        page.mouse.click(box["x"] + 40, box["y"] + 6)

    click(0)
    page.wait_for_selector("#ask-dialog[open]")
    expect(page.locator("#ask-title")).to_have_text("Open evil.example?", use_inner_text=True)
    expect(page.locator("#ask-text")).to_contain_text("https://evil.example/x", use_inner_text=True)
    page.click("#ask-cancel")
    assert len(page.context.pages) == 1
    click(2)
    page.wait_for_selector("#ask-dialog[open]")
    expect(page.locator("#ask-title")).to_have_text("Open evil.example?", use_inner_text=True)
    with page.context.expect_page() as opened:
        page.click("#ask-ok")
    opened.value.close()
    with page.context.expect_page() as opened:
        click(1)
    assert opened.value.url == "https://plain.example/"
    opened.value.close()


LIBC = """
import ctypes, itertools, locale
locale.setlocale(locale.LC_CTYPE, '')
wcwidth = ctypes.CDLL(None).wcwidth
widths = [wcwidth(point) for point in range(0x110000)]
at = 0
for width, run in itertools.groupby(widths):
    print(at, width)
    at += len(list(run))
"""


def test_the_terminal_and_the_container_agree_on_every_width(tab: Tab) -> None:
    tab.run(LIBC)
    tab.ended("Finished")
    runs = [tuple(map(int, line.split())) for line in tab.text().splitlines()]
    page = tab.get(
        "import('./static/core/cells.js').then(({ widthOf }) =>"
        " Array.from({ length: 0x110000 }, (_, point) => widthOf(point)).join(''))"
    )
    assert len(runs) > 1500
    different = []
    for (begin, width), (end, _) in itertools.pairwise([*runs, (0x110000, 0)]):
        if width >= 0 and begin >= 0xA0:
            different += [hex(at) for at in range(begin, end) if int(page[at]) != width]
    assert different == []


MEASURE = r"""
import ctypes, json, locale, sys, termios, tty
locale.setlocale(locale.LC_CTYPE, '')
wcwidth = ctypes.CDLL(None).wcwidth
before = termios.tcgetattr(0)
tty.setcbreak(0)
found = []
for word in WORDS:
    sys.stdout.write('\r' + word + '\x1b[6n')
    sys.stdout.flush()
    answer = ''
    while not answer.endswith('R'):
        answer += sys.stdin.read(1)
    found.append((int(answer.split(';')[1][:-1]) - 1, sum(wcwidth(ord(one)) for one in word)))
termios.tcsetattr(0, termios.TCSANOW, before)
print()
print(json.dumps(found))
"""


def test_what_follows_emoji_and_marks_stands_in_its_cell(tab: Tab) -> None:
    """The cursor is where a program that adds up the widths expects it."""
    words = ["👩\u200d👩\u200d👧", "e\u0301\u0301", "क\u094dष", "🏳\ufe0f\u200d🌈"]
    words += ["\u1112\u1161\u11ab", "日本\u200b"]
    tab.run(f"WORDS = {words!a}\n" + MEASURE)
    tab.ended("Finished")
    found = json.loads(tab.text().splitlines()[-1])
    assert len(found) == len(words)
    assert all(drawn == computed for drawn, computed in found), found


LEFT = {
    "killed": "import os; os.kill(os.getpid(), 9)",
    "crashed": "import ctypes; ctypes.string_at(0)",
    "ended": "pass",
}


@pytest.mark.parametrize("how", LEFT)
def test_a_program_that_leaves_its_terminal_in_disorder(tab: Tab, how: str) -> None:
    tab.run(
        "import sys, time\nprint('earlier output')\n"
        "sys.stdout.write('\\x1b[?1049h\\x1b[?1003h\\x1b[?1006h\\x1b[?25l\\x1b(0\\x1b[5;7r')\n"
        "sys.stdout.write('\\x1b[?6h\\x1b[7mfull screen')\n"
        f"sys.stdout.flush()\n{LEFT[how]}\n"
    )
    tab.until("['good', 'bad'].includes(document.getElementById('outcome').dataset.tone)")
    tab.sees("earlier output")
    assert "full screen" not in tab.text()
    modes = tab.get("coderunner.screens.program.view.term.modes")
    assert (modes["mouseTrackingMode"], modes["originMode"]) == ("none", False)
    # Nothing of it is left for the next one either.
    tab.run("print('qqq'); print('x' * 20)").sees("qqq")


def test_a_program_that_stands_still_is_told_and_goes_on(tab: Tab) -> None:
    tab.run("import os\nprint('one')\nos.kill(os.getpid(), 19)\nprint('two'); input()").sees("one")
    tab.banner("is stopped")
    tab.page.get_by_role("button", name="Continue").click()
    tab.sees("two")
    tab.type("\x13")
    tab.banner("holds its output back")
    tab.page.locator(".banner").get_by_role("button", name="Stop", exact=True).click()
    tab.ended("Stopped")
    expect(tab.page.locator(".banner", has_text="holds")).to_have_count(0)


def test_a_compiler_that_stands_still_is_told_and_goes_on(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab().language("C")
    rule = "main: main.c\n\tkill -STOP $$PPID; cc -o main main.c\n"
    tab.get("(rule) => coderunner.desk.project.create('Makefile', rule)", rule)
    tab.run()
    tab.banner("is stopped")
    tab.page.get_by_role("button", name="Continue").click()
    tab.ended("Finished", seconds=60)
    expect(tab.page.locator(".banner")).to_have_count(0)


def test_a_line_that_a_terminal_cuts_is_told_and_pipes_are_offered(tab: Tab) -> None:
    tab.run("print('ready'); print(len(input()))").sees("ready")
    tab.get("(text) => coderunner.screens.program.view.term.paste(text)", "x" * 4000 + "\r")
    tab.ended("Finished")
    expect(tab.page.locator(".banner")).to_have_count(0)
    tab.run("print('ready'); print(len(input()))").sees("ready")
    tab.get("(text) => coderunner.screens.program.view.term.paste(text)", "ä" * 1500)
    tab.get("(text) => coderunner.screens.program.view.term.paste(text)", "y" * 1095)
    expect(tab.page.locator(".banner")).to_have_count(0)
    tab.page.click("#program-term")
    tab.type("z")
    tab.banner("at most 4,095 bytes")
    tab.page.get_by_role("button", name="Use pipes from the next run").click()
    tab.until("!document.querySelector('.banner')")
    tab.page.keyboard.press("Control+c")
    tab.until("coderunner.desk.project.mode === 'pipe'")


FLOOD = """async (bytes) => {
    const { Channel } = await import('/static/core/channel.js');
    const { decodeOutput, encodeOutput } = await import('/static/core/codec.js');
    const { program } = coderunner.screens;
    const { view: { term } } = program;
    const chunk = new TextEncoder().encode(('x'.repeat(99) + '\\r\\n').repeat(320));
    const timers = { setTimeout: (...all) => setTimeout(...all), clearTimeout: (one) => clearTimeout(one) };
    const port = { up: true, control: true, send() {}, sendInput() {}, timers };
    let id = 100;
    window.flood = { drawn: 0 };
    term.onRender(() => { flood.drawn += 1; });

    // The library by itself, in the same page and at the same size.
    flood.alone = async () => {
        const host = document.createElement('div');
        document.body.append(host);
        const alone = new term.constructor({ ...term.options, cols: term.cols, rows: term.rows });
        alone.open(host);
        let last;
        for (let at = 0; at < bytes; at += chunk.length) {
            last = new Promise((done) => alone.write(chunk, done));
            if (at % (8 * chunk.length) === 0) await last;
        }
        await last;
        alone.dispose();
        host.remove();
    };

    // All that the page does with a frame, as fast as its acks allow: 256 KiB ahead.
    flood.page = () => new Promise((done) => {
        const channel = new Channel(port, { id: id += 1, kind: 'run', mode: 'tty' });
        channel.enter('running');
        program.show(channel, { role: 'control', phase: 'open' });
        let sent = 0;
        const more = () => {
            for (; sent < bytes && sent < channel.consumed + 256 * 1024; sent += chunk.length) {
                const frame = encodeOutput(channel.id, 1, sent, chunk);
                setTimeout(() => channel.take(decodeOutput(frame)));
            }
            if (channel.consumed >= bytes) done();
        };
        const { consume } = channel;
        channel.consume = (offset) => { consume.call(channel, offset); more(); };
        more();
    });
}"""


def test_a_flood_costs_the_page_little_more_than_the_library_alone(browser: Browser, tab: Tab) -> None:
    """Time of the processor is compared, of all of the browser's pages: the machine has others to serve."""
    system = browser.new_browser_cdp_session()

    def spent() -> float:
        processes = system.send("SystemInfo.getProcessInfo")["processInfo"]
        return float(sum(one["cpuTime"] for one in processes if one["type"] == "renderer"))

    def costs(name: str) -> float:
        before = spent()
        tab.get(f"flood.{name}()")
        return spent() - before

    tab.run("print(1)\n").ended("Finished")
    tab.get(FLOOD, 5_000_000)
    costs("alone"), costs("page")  # until all of it is compiled
    began = time.monotonic()
    drawn = tab.get("flood.drawn")
    page = min(costs("page") for _ in range(2))
    frames = (tab.get("flood.drawn") - drawn) / (time.monotonic() - began)
    alone = min(costs("alone") for _ in range(2))
    assert page < 1.5 * alone, (page, alone)
    assert frames < 35, frames  # a second: it is not drawn in each frame of the browser
