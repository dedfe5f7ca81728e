"""A session near its end: told on the page, and its files offered."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.tab import Tab
from tests.harness import running_server


def test_what_a_program_made_can_be_saved_before_the_session_ends(
    tmp_path: Path, open_tab: Callable[..., Tab]
) -> None:
    times = {"SESSION_TTL": "45000", "SESSION_IDLE_TIMEOUT": "40000"}
    with running_server(tmp_path, LANGUAGES="python", WARM_MAX="1", **times) as server:
        tab = open_tab(server.url).run("open('made.txt', 'w').write('by the program')\nprint('written')\n")
        tab.ended("Finished")
        button = tab.page.locator("[data-key=expiry] button")
        button.wait_for()
        expect(tab.page.locator("[data-key=expiry]")).to_contain_text("ends in", use_inner_text=True)
        with tab.page.expect_download() as waiting:
            button.click()
        with zipfile.ZipFile(waiting.value.path()) as archive:
            assert archive.read("made.txt") == b"by the program"
        tab.page.close()
