"""The room in which the page opens sessions, and what its user is told of it."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator

import orjson
import pytest
from playwright.sync_api import expect

from tests.browser.tab import Tab
from tests.harness import Server, running_server
from tests.web.test_rooms import SETTINGS, tina, who

pytestmark = [pytest.mark.long, pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("school"), ready=("bash",), **SETTINGS) as one:
        yield one


def signed_in(open_tab: Callable[..., Tab], server: Server, headers: dict[str, str], path: str = "") -> Tab:
    """A page whose tab keeps this credential."""
    tab = open_tab(server.url + path, load=False)
    key = headers["Authorization"].removeprefix("Bearer ")
    tab.page.add_init_script(f"sessionStorage.setItem('coderunner.key', '{key}')")
    return tab.open()


def of_room(server: Server) -> int:
    """How many sessions a teacher of `algebra` sees."""
    # Without asyncio: the browser's driver has a loop of its own in this thread.
    request = urllib.request.Request(server.url + "api/sessions", headers=tina())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return len(orjson.loads(answer.read())["sessions"])


def test_of_one_room_is_told_and_used(server: Server, open_tab: Callable[..., Tab]) -> None:
    tab = signed_in(open_tab, server, who("anna", "algebra"))
    page, banner = tab.page, tab.page.locator("#banners [data-key=room]")
    expect(banner).to_contain_text("belong to the room algebra")
    expect(banner).to_contain_text("Its teachers may watch what your programs print")
    expect(banner).to_contain_text("for 90 days, with a hash of your program")
    expect(page.locator("#room-text")).to_have_text("Room algebra")
    before = of_room(server)
    tab.run("echo in a room\n")
    tab.ended("Finished")
    assert of_room(server) == before + 1


def test_of_several_one_is_chosen_and_kept(server: Server, open_tab: Callable[..., Tab]) -> None:
    tab = signed_in(open_tab, server, who("bert", "algebra", "botany"))
    page, banner = tab.page, tab.page.locator("#banners [data-key=room]")
    expect(banner).to_contain_text("belong to none of them until you choose one")
    page.click("#more")
    expect(page.get_by_role("menuitemradio", name="No room")).to_have_attribute("aria-checked", "true")
    page.get_by_role("menuitemradio", name="Room algebra").click()
    expect(banner).to_contain_text("belong to the room algebra")
    before = of_room(server)
    tab.run("echo in a room\n")
    tab.ended("Finished")
    assert of_room(server) == before + 1
    tab.reload()
    expect(page.locator("#room-text")).to_have_text("Room algebra")


def test_without_a_room_nothing_is_said(server: Server, open_tab: Callable[..., Tab]) -> None:
    tab = signed_in(open_tab, server, who("carl"))
    tab.until("coderunner.desk.room === null && document.getElementById('menu-rooms').hidden")
    expect(tab.page.locator("#banners [data-key=room]")).to_have_count(0)
