"""Pictures in the terminal: drawn, kept over a reload, and harmless whatever a program sends as one."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.tab import Tab
from tests.reference import PAGE_WORK

PICTURE = """import base64, struct, zlib
def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
def png(width, height, rows=None):
    line = b'\\x00' + b'\\xff\\x00\\x00' * width
    pixels = zlib.compress(line * (height if rows is None else rows))
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', head) + chunk(b'IDAT', pixels) + chunk(b'IEND', b'')
def show(data, fields=''):
    text = base64.b64encode(data).decode()
    print(f'\\x1b]1337;File=inline=1;size={len(data)}{fields}:{text}\\x07', flush=True)
"""
RED = """(() => { const canvas = document.querySelector('#program .xterm-image-layer');
    if (!canvas || !canvas.width) return 0;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let red = 0;
    for (let at = 0; at < data.length; at += 4) {
        red += data[at] > 200 && data[at + 1] < 60 && data[at + 3] > 200;
    }
    return red; })()"""


def test_a_picture_is_drawn_where_the_program_is(tab: Tab) -> None:
    tab.run(PICTURE + "print('above')\nshow(png(120, 60))\nprint('below')\n")
    tab.ended("Finished")
    assert re.fullmatch(r"above\s*\n\s*below", tab.text())
    assert tab.until(RED) == 120 * 60
    tab.reload()
    tab.ended("Finished")
    assert tab.until(RED) == 120 * 60, "the replayed output draws it again"
    tab.run("print('next')\n").sees("next")
    tab.ended("Finished")
    tab.shows(RED, 0)


def test_a_large_picture_fits_the_terminal(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(viewport={"width": 390, "height": 760}, is_mobile=True, has_touch=True).language("Python")
    tab.run(PICTURE + "show(png(2000, 1000))\nprint('below')\n")
    tab.ended("Finished")
    tab.until(RED)
    size = tab.get("""(({ clientWidth, parentNode }) => [clientWidth, parentNode.clientWidth])
        (document.querySelector('#program .xterm-image-layer'))""")
    assert size[0] <= size[1] <= 390


def test_what_is_refused_is_told_and_the_rest_goes_on(tab: Tab) -> None:
    for program, why in (
        ("show(b'<svg/>' * 9)", "not a PNG"),
        ("show(png(65535, 65535, rows=1))", "too many pixels"),
        ("show(png(9, 9)[:60] + b'x' * 40)", "broken"),
    ):
        tab.run(PICTURE + program + "\nprint('goes', 'on')\n").sees("goes on")
        tab.ended("Finished")
        tab.banner("A picture is not shown").banner(why)
        tab.page.click(".banner[data-key=picture] .icon-button")
    tab.shows(RED, 0)


def test_hostile_pictures_do_not_hang_the_page(tab: Tab) -> None:
    """Endless ones, ones that ask for millions of lines, thousands of them: the page answers."""
    tab.get("""() => { window.longest = 0; let last = performance.now();
        setInterval(() => { const now = performance.now();
            window.longest = Math.max(window.longest, now - last); last = now; }, 20); }""")
    tab.run(
        PICTURE + "import sys\n"
        "dot = png(1, 1)\n"
        "for _ in range(20): show(dot, ';width=1px;height=999999px;preserveAspectRatio=0')\n"
        "for _ in range(3000): show(dot, ';width=1;height=1')\n"
        "sys.stdout.write('\\x1b]1337;File=inline=1:' + 'A' * 12_000_000 + '\\x07')\n"
        "print('after', 'all')\n"
    )
    tab.ended("Finished", seconds=60)
    tab.sees("after all")
    tab.shows("coderunner.screens.program.view.pictures.count", lambda now: now <= 500)
    longest, work = tab.get("window.longest"), tab.get(PAGE_WORK)
    assert longest < 150 * work, f"the page stood still for {longest:.0f} ms, a piece of work took {work:.0f}"
    tab.run(PICTURE + "show(png(50, 50))\n").ended("Finished")
    tab.until(RED)


def test_a_picture_that_is_saved_as_well_is_shown_once(tab: Tab) -> None:
    tab.run(
        PICTURE + "data = png(120, 60)\nshow(data)\nopen('red.png', 'wb').write(data)\n"
        "open('other.png', 'wb').write(png(99, 50))\nprint('below')\n"
    )
    tab.ended("Finished")
    assert tab.until(RED) == 120 * 60
    page = tab.page
    page.wait_for_selector("#artifacts-list [data-path='red.png'].drawn")
    expect(page.locator("#artifacts-list [data-path='red.png'] img"), "the terminal shows it").to_be_hidden()
    page.wait_for_selector("#artifacts-list [data-path='other.png'] img", state="visible")
    page.click("#artifacts-list [data-path='red.png'] .card")
    page.wait_for_selector("#viewer-body img")
