"""Reloads, lost connections, other tabs: the program runs on, and everything is there exactly once."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.proxy import CuttingProxy
from tests.browser.tab import Tab
from tests.harness import Server, wait_until, workspace

COUNT = """import time
for number in range({count}):
    print("\\x1b[0m" * {padding} + f"line {{number}}", flush=True)
    if number % {burst} == 0: time.sleep({pause})
print("answer:", input("done? "))
"""


def assert_lines(text: str, count: int) -> None:
    numbers = [int(number) for number in re.findall(r"^line (\d+)$", text, re.MULTILINE)]
    assert numbers == list(range(count))


def test_a_reload_in_mid_run(tab: Tab) -> None:
    tab.run(COUNT.format(count=600, burst=3, pause=0.01, padding=0)).sees("line 100\n")
    tab.reload()
    tab.until("coderunner.screens.program.running")
    tab.sees("line 300\n").reload().sees("done?")
    tab.page.click("#program-term")
    tab.type("yes\n")
    tab.ended("Finished")
    assert_lines(tab.text(), 600)
    assert tab.text().endswith("done? yes\nanswer: yes")
    expect(tab.page.locator("#args")).to_have_value("")
    expect(tab.page.locator(".cm-content")).to_contain_text("range(600)", use_inner_text=True)


def test_an_ended_program_is_there_after_a_reload(tab: Tab) -> None:
    tab.run("print('kept')\nexit(3)\n")
    before = tab.ended("Ended with exit code 3")
    tab.reload()
    assert tab.ended("Ended with exit code 3") == before
    assert tab.text() == "kept"
    tab.run("print('next')\n").sees("next")
    tab.ended("Finished")


def test_a_reload_brings_back_the_shell_as_well(tab: Tab) -> None:
    tab.run("print('here')\ninput()\n").sees("here")
    tab.shell().type("export WORD=kept\n")
    tab.reload()
    tab.sees("here").sees("$ ", "shell")
    tab.page.click("#shell-term")
    tab.type("echo $WORD.$WORD\n").sees("kept.kept\n", "shell")


def test_queries_in_replayed_output_are_not_answered_again(tab: Tab) -> None:
    tab.run(
        "import os, re, termios, tty\n"
        "mode = termios.tcgetattr(0); tty.setraw(0)\n"
        "print('\\x1b[6n\\x1b[c\\x1b]11;?\\x07', end='', flush=True)\n"
        "said = b''\n"
        "while not (said.endswith((b'\\x07', b'\\\\')) and b'R' in said and b'c' in said):\n"
        "    said += os.read(0, 100)\n"
        "termios.tcsetattr(0, termios.TCSANOW, mode)\n"
        "print('answered')\n"
        "print('typed', repr(input('> ')))\n"
    ).sees("answered")
    tab.reload().sees("> ").reload().sees("> ")
    tab.page.click("#program-term")
    tab.type("clean\n")
    tab.ended("Finished")
    assert tab.text().endswith("> clean\ntyped 'clean'")


def test_output_is_whole_through_many_cuts(cut_tab: Tab, proxy: CuttingProxy) -> None:
    # A connection must live for more than one frame (32 KiB) now and then, or there is no progress at all.
    proxy.life = (2000, 100_000)
    cut_tab.run(COUNT.format(count=9000, burst=300, pause=0.05, padding=12)).sees("done?", seconds=40)
    proxy.life = None
    cut_tab.type("yes\n")
    cut_tab.ended("Finished")
    assert_lines(cut_tab.text(), 9000)
    assert cut_tab.text().endswith("done? yes\nanswer: yes")
    assert proxy.cuts >= 4


def test_input_is_whole_through_cuts(cut_tab: Tab, proxy: CuttingProxy) -> None:
    cut_tab.pipes().run(
        "import sys\nprint('ready', flush=True)\n"
        "for line in sys.stdin: print('got', line, end='', flush=True)\n"
    )
    cut_tab.sees("ready")
    for number in range(60):
        cut_tab.get(
            "(line) => coderunner.screens.program.channel.write(new TextEncoder().encode(line))",
            f"word {number}\n",
        )
        if number % 10 == 5:
            proxy.cut()
    cut_tab.sees("got word 59")
    cut_tab.page.click("#stdin-eof")
    cut_tab.ended("Finished")
    got = [int(number) for number in re.findall(r"^got word (\d+)$", cut_tab.text(), re.MULTILINE)]
    assert got == list(range(60))


def test_a_longer_loss_is_told_and_mended(cut_tab: Tab, proxy: CuttingProxy) -> None:
    cut_tab.run("print('before')\nprint('after', input())\n").sees("before")
    proxy.closed = True
    proxy.cut()
    cut_tab.banner("Connection lost. Reconnecting")
    cut_tab.page.click("#program-term")
    cut_tab.type("typed while away\n")
    proxy.closed = False
    cut_tab.get(
        "document.querySelector('.banner[data-key=link] button')?.click()"
    )  # unless it is back already
    cut_tab.ended("Finished")
    assert cut_tab.text().endswith("after typed while away")
    cut_tab.page.wait_for_selector(".banner", state="detached")


def test_what_a_terminal_missed_is_told(server: Server, cut_tab: Tab, proxy: CuttingProxy) -> None:
    cut_tab.run(
        "import os, time\nprint('begin', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
        "for number in range(4000): print('\\x1b[0m' * 250 + f'line {number}')\n"
        "open('written', 'w')\nprint('end', input())\n"
    ).sees("begin")
    session = cut_tab.get("coderunner.desk.session.id")
    token = cut_tab.get("coderunner.desk.session.token")
    cut_tab.shell().type("(sleep 1; touch go) &\n").sees("touch go) &\n", "shell")
    proxy.closed = True
    proxy.cut()
    cut_tab.banner("Connection lost")
    wait_until(lambda: "written" in workspace(server, session, token), 20, "4 MB written")
    proxy.closed = False
    cut_tab.page.click("#program-term")
    cut_tab.type("!\n")
    cut_tab.ended("Finished")
    text = cut_tab.text()
    assert re.search(r"… [\d,]+ bytes of earlier output are not kept …", text)
    numbers = [int(number) for number in re.findall(r"^line (\d+)$", text, re.MULTILINE)]
    assert 900 < len(numbers) < 4000
    assert numbers == list(range(4000 - len(numbers), 4000))
    assert text.endswith("end !")


def test_a_second_tab_has_its_own_session_and_a_later_one_goes_on(
    open_tab: Callable[..., Tab], tab: Tab
) -> None:
    tab.run("print('first tab')\nprint('end', input())\n").sees("first tab")
    other = open_tab(beside=tab)
    other.shows("coderunner.desk.session", None)
    tab.until("coderunner.desk.session.link.up")
    tab.page.close()
    other.page.close()
    third = open_tab(beside=tab)
    third.sees("first tab")
    third.page.click("#program-term")
    third.type("here\n")
    third.ended("Finished")


OTHER = """() => new Promise((resolve) => {
    const { id, token } = coderunner.desk.session;
    const url = new URL(`ws/${id}`, document.baseURI).href.replace('http', 'ws');
    const socket = new WebSocket(url, 'coderunner.v1');
    window.otherSocket = socket;
    socket.onmessage = ({ data }) => {
        const type = typeof data === 'string' ? JSON.parse(data).type : null;
        const attach = { type: 'attach', session: id, token, client: 'b'.repeat(22) };
        if (type === 'hello') socket.send(JSON.stringify(attach));
        if (type === 'attached') resolve();
    };
})"""


def test_another_client_takes_control_and_gives_it_back(tab: Tab) -> None:
    tab.run("print('mine')\nprint('end', input())\n").sees("mine")
    tab.get(OTHER)
    tab.banner("You are watching")
    tab.page.click("#program-term")
    tab.type("ignored")
    tab.page.click(".banner >> text=Take control")
    tab.page.wait_for_selector(".banner", state="detached")
    tab.page.click("#program-term")
    tab.type("back\n")
    tab.ended("Finished")
    assert tab.text().endswith("end back")


def test_a_watcher_takes_control_when_nobody_has_it(tab: Tab) -> None:
    tab.run("print('mine')\nprint('end', input())\n").sees("mine")
    tab.get(OTHER)
    tab.banner("You are watching")
    tab.get("new Promise((gone) => { otherSocket.onclose = gone; otherSocket.close(); })")
    tab.page.click(".banner >> text=Take control")
    tab.page.wait_for_selector(".banner", state="detached")
    tab.page.click("#program-term")
    tab.type("heard\n")
    tab.ended("Finished")
    assert tab.text().endswith("end heard")


def test_a_network_that_stalls_is_told_and_left(cut_tab: Tab, proxy: CuttingProxy) -> None:
    cut_tab.run("print('begin')\nwhile True: print('got', input())\n").sees("begin")
    cut_tab.until("document.getElementById('link-text').textContent.startsWith('Connected')")
    proxy.stalled = True
    cut_tab.page.click("#program-term")
    cut_tab.type("typed into nothing\n")
    cut_tab.until("document.getElementById('link-text').textContent.startsWith('No answer')", seconds=4.5)
    cut_tab.banner("The server does not answer", seconds=4)
    cut_tab.banner("Connection lost. Reconnecting", seconds=9)
    proxy.stalled = False
    cut_tab.sees("got typed into nothing")
    assert cut_tab.text().count("got typed into nothing") == 1
    cut_tab.until("!document.querySelector('.banner')")


def test_a_stall_without_typing_is_told_as_well(cut_tab: Tab, proxy: CuttingProxy) -> None:
    cut_tab.run("print('begin')\ninput()\n").sees("begin")
    proxy.stalled = True
    cut_tab.until("document.getElementById('link-text').textContent.startsWith('No answer')", seconds=8.5)
    proxy.stalled = False
    cut_tab.until("document.getElementById('link-text').textContent.startsWith('Connected')", seconds=8)


def test_a_device_that_goes_offline_asks_at_once(cut_tab: Tab, proxy: CuttingProxy) -> None:
    cut_tab.run("print('begin')\ninput()\n").sees("begin")
    cut_tab.page.wait_for_timeout(1200)  # nothing is on its way that would be asked for anyway
    proxy.stalled = True
    cut_tab.page.context.set_offline(True)
    cut_tab.until("document.getElementById('link-text').textContent.startsWith('No answer')", seconds=3)
    cut_tab.banner("Connection lost. Reconnecting", seconds=4)
    proxy.stalled = False
    cut_tab.page.context.set_offline(False)
    cut_tab.until("document.getElementById('link-text').textContent.startsWith('Connected')", seconds=8)


@pytest.mark.long
def test_a_long_cut_while_a_session_opens_opens_anew(cut_tab: Tab, proxy: CuttingProxy) -> None:
    """The server keeps what it opened for ten seconds; after that the same wish means nothing any more."""
    proxy.first_wish = True
    cut_tab.run("print('it runs', flush=True)\ninput()\n")
    wait_until(lambda: proxy.closed, 10, "the wish arrived, and its answer cannot")
    cut_tab.page.wait_for_timeout(14_500)  # the time itself is the case
    proxy.first_wish = proxy.closed = False
    cut_tab.sees("it runs", seconds=30)
    expect(cut_tab.page.locator(".banner")).to_have_count(0)
