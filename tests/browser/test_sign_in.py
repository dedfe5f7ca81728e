"""A server that needs a credential: what the page says, and how its user signs in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.tab import Tab
from tests.harness import Server, running_server
from tests.web.test_sign_in import Place, place

pytestmark = pytest.mark.timeout(150)  # a provider and a server begin first

KEY = "0123456789abcdef" * 4

__all__ = ["place"]


@pytest.fixture(scope="module")
def closed(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("closed")
    with running_server(
        folder, ready=("bash",), LANGUAGES="bash", WARM_MAX="1", ANONYMOUS="no", ADMIN_KEY=KEY
    ) as one:
        yield one


def runs(tab: Tab) -> None:
    tab.code("echo it runs\n")
    tab.run()
    tab.ended("Finished")
    assert tab.text() == "it runs"


def test_with_a_key(closed: Server, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(closed.url)
    tab.allowed.append("status of 401")  # the browser tells of the key that is none
    page, banner = tab.page, tab.page.locator("#banners [data-key=identity]")
    expect(banner).to_contain_text("This server needs you to sign in")
    tab.code("echo it runs\n")
    tab.run()
    expect(page.locator("#banners [data-key=error]")).to_contain_text("You are not signed in")
    banner.get_by_text("Use a key").click()
    page.fill("#ask-input", "wrong-wrong-wrong")
    page.click("#ask-ok")
    expect(page.locator("#banners [data-key=sign-in]")).to_contain_text("does not know that key")
    expect(banner).to_be_visible()
    banner.get_by_text("Use a key").click()
    assert page.get_attribute("#ask-input", "type") == "password"
    page.fill("#ask-input", KEY)
    page.click("#ask-ok")
    expect(banner).to_have_count(0)
    runs(tab)
    assert KEY not in page.url
    assert tab.get("Object.values(localStorage).join()").find(KEY) < 0
    tab.reload()
    tab.ended("Finished")  # the session was found again
    expect(banner).to_have_count(0)
    page.click("#more")
    page.click("#menu-sign-out")
    expect(banner).to_be_visible()
    assert tab.get("sessionStorage.getItem('coderunner.key')") is None


def at_the_provider(page: Page, place: Place) -> None:
    """Signs in as alice."""
    page.wait_for_url(f"{place.provider}/**")
    page.fill("[name=login]", "alice")
    page.fill("[name=password]", "x")
    page.click("[type=submit]")
    page.click("text=Continue")
    page.wait_for_url(f"{place.server.url}**")


def pages_of(place: Place) -> str:
    """What the browser may tell of the provider's own pages, which ask for their fonts elsewhere."""
    return r"provider|Refused|favicon|fonts\.googleapis\.com|" + place.provider


def test_with_a_provider(place: Place, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(place.server.url)
    page, banner = tab.page, tab.page.locator("#banners [data-key=identity]")
    banner.get_by_role("button", name="Sign in").click()
    at_the_provider(page, place)
    tab.ready()
    runs(tab)
    expect(banner).to_have_count(0)
    page.click("#more")
    expect(page.locator("#menu-sign-out")).to_have_text("Sign out (alice of the test)")
    page.click("#menu-sign-out")
    expect(banner).to_be_visible()
    tab.allowed.append(pages_of(place))


def test_who_is_signed_in_can_sign_out_at_a_rooms_wall(place: Place, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(place.server.url)
    tab.allowed += [pages_of(place), "status of 40[13]"]
    page = tab.page
    page.locator("#banners [data-key=identity]").get_by_role("button", name="Sign in").click()
    at_the_provider(page, place)
    page.goto(f"{place.server.url}room/algebra")
    expect(page.locator("#problem")).to_have_text("You are not a teacher of this room. Sign in as one.")
    expect(page.locator("#leave")).to_have_text("Sign out (alice of the test)")
    page.click("#leave")
    expect(page.locator("#leave")).to_be_hidden()
    page.goto(place.server.url)
    expect(page.locator("#banners [data-key=identity]")).to_be_visible()
