"""The operator's page: each section shows what is so, and does what its buttons say."""

from __future__ import annotations

import csv
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.tab import Tab
from tests.browser.test_accessible import check
from tests.browser.test_room_choice import signed_in
from tests.harness import Server, running_server, wait_until
from tests.web.test_identity import bearer
from tests.web.test_sign_in import Place, beside_a_provider

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

KEY = "0123456789abcdef-ABCDEF-0123456789"
PROGRAM = "echo ready\nwhile read line; do echo got $line; done\n"
OVER = r"status of 404 .*/api/sessions/"  # of a page whose session was ended while it asks for something
SECTIONS = ("overview", "sessions", "queue", "keys", "images", "log", "settings", "loadtest")
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 760}, "has_touch": True, "is_mobile": True}
QUOTAS = """
[anonymous]
runs_per_minute = 600
[user]
sessions = 1
runs_per_minute = 30
cpu_seconds_per_day = 7200
languages = ["bash"]
groups = false
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("operator")
    (folder / "quotas.toml").write_text(QUOTAS)
    with running_server(
        folder, ready=("bash",), LANGUAGES="bash", WARM_MAX="1", MAX_CONCURRENT_SESSIONS="2", ADMIN_KEY=KEY,
        SESSIONS_PER_ADDRESS="0", QUOTAS_FILE=str(folder / "quotas.toml"),
    ) as one:  # fmt: skip
        yield one


@pytest.fixture
def user(open_tab: Callable[..., Tab]) -> Tab:
    """A user whose program runs."""
    return running(open_tab)


def running(open_tab: Callable[..., Tab]) -> Tab:
    tab = open_tab()
    tab.run(PROGRAM)
    return tab.sees("ready")


def at(open_tab: Callable[..., Tab], server: Server, section: str = "overview", allowed: str = "") -> Page:
    """The operator's page. `allowed`: what its console may say."""
    tab = signed_in(open_tab, server, bearer(KEY), "admin")
    tab.allowed += [allowed] if allowed else []
    expect(tab.page.locator("#room")).to_be_visible()
    return go(tab.page, section)


def go(page: Page, section: str) -> Page:
    page.locator(f"nav a[href='#{section}']").click()
    expect(page.locator(f"#{section}")).to_be_visible()
    return page


def session_of(user: Tab) -> str:
    return str(user.get("coderunner.desk.session.id"))


def row(page: Page, body: str, text: str) -> Locator:
    return page.locator(f"#{body} tr", has_text=text)


def status_of(server: Server, path: str, key: str, method: str = "GET", body: Any = None) -> int:
    data = None if body is None else json.dumps(body).encode()
    headers = {**bearer(key), "Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def key_of(server: Server, name: str, room: str) -> str:
    """Makes an API key for somebody in a room; returns its text."""
    data = json.dumps({"name": name, "rooms": [room]}).encode()
    headers = {**bearer(KEY), "Content-Type": "application/json"}
    request = urllib.request.Request(server.url + "api/admin/keys", data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.loads(answer.read())["key"])


def test_only_an_operators_key_opens_it(open_tab: Callable[..., Tab], server: Server) -> None:
    tab = open_tab(server.url + "admin", load=False)
    tab.allowed.append("status of 401")
    page = tab.open().page
    expect(page.locator("#login")).to_be_visible()
    expect(page.locator("#room")).to_be_hidden()
    expect(page.locator("#provider")).to_be_hidden()  # this server has none
    page.get_by_label("The operator's key").fill("wrong-key-of-nobody")
    page.get_by_role("button", name="Enter").click()
    expect(page.locator("#problem")).to_have_text("That is not an operator’s key or sign-in.")
    page.get_by_label("The operator's key").fill(KEY)
    page.get_by_role("button", name="Enter").click()
    expect(page.locator("#overview")).to_be_visible()
    assert KEY not in page.content()
    page.get_by_role("button", name="Forget the key").click()
    expect(page.locator("#login")).to_be_visible()
    assert page.evaluate("Object.values(sessionStorage).join()").find(KEY) == -1


@pytest.fixture(scope="module")
def school(tmp_path_factory) -> Iterator[Place]:
    with beside_a_provider(tmp_path_factory.mktemp("school"), ADMIN_KEY=KEY) as one:
        yield one


def through_provider(tab: Tab, place: Place, user: str) -> Page:
    """Signs in at the provider, from the page and back."""
    page = tab.page
    page.get_by_role("button", name="Sign in with your account").click()
    page.wait_for_url(f"{place.provider}/**")
    page.fill("[name=login]", user)
    page.fill("[name=password]", "x")
    page.click("[type=submit]")
    page.click("text=Continue")
    page.wait_for_url(f"{place.server.url}**")
    return page


def test_an_operator_signs_in_with_an_account(open_tab: Callable[..., Tab], school: Place) -> None:
    # Whatever stands in the address, the way back is to this page.
    tab = open_tab(school.server.url + "admin?next=//evil.example&sign-in=x", load=False)
    # The provider's own pages ask for their fonts elsewhere.
    tab.allowed += ["status of 40[13]", r"provider|Refused|favicon|fonts\.googleapis\.com|" + school.provider]
    tab.open()
    check(tab, "login")
    page = through_provider(tab, school, "olga")
    assert page.url == school.server.url + "admin?next=%2F%2Fevil.example"
    expect(page.locator("#overview")).to_be_visible()
    page.get_by_role("button", name="Drain").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#status")).to_contain_text("Draining")  # what changes something is taken, too
    page.get_by_role("button", name="Take sessions again").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#status")).to_have_text("")
    page.get_by_role("button", name="Sign out (olga of the test)").click()
    expect(page.locator("#login")).to_be_visible()
    expect(page.locator("#room")).to_be_hidden()
    page.reload()
    expect(page.locator("#login")).to_be_visible()


def test_a_sign_in_that_failed_is_told_where_it_began(open_tab: Callable[..., Tab], server: Server) -> None:
    tab = open_tab(server.url + "admin?sign-in=identity_unavailable", load=False)
    tab.allowed.append("status of 401")
    page = tab.open().page
    expect(page.locator("#problem")).to_contain_text(
        "The sign-in did not succeed. Who you are cannot be checked"
    )
    assert page.url == server.url + "admin"


def test_who_is_no_operator_may_sign_in_as_another(open_tab: Callable[..., Tab], school: Place) -> None:
    tab = open_tab(school.server.url + "admin", load=False)
    tab.allowed += ["status of 40[13]", r"provider|Refused|favicon|fonts\.googleapis\.com|" + school.provider]
    page = through_provider(tab.open(), school, "alice")
    expect(page.locator("#problem")).to_have_text("That is not an operator’s key or sign-in.")
    expect(page.locator("#room")).to_be_hidden()
    page.get_by_role("button", name="Sign out (alice of the test)").click()
    expect(page.locator("#leave")).to_be_hidden()
    expect(page.locator("#provider")).to_be_visible()


def test_a_session_is_listed_watched_told_something_and_ended(
    open_tab: Callable[..., Tab], server: Server, user: Tab
) -> None:
    page = at(open_tab, server, "sessions")
    user.allowed.append(OVER)
    name = session_of(user)
    live = row(page, "session-rows", name)
    for word in ("127.0.0.1", "bash", "running", "MiB of", "B/s"):
        expect(live).to_contain_text(word)
    expect(live).to_contain_text(re.compile(r"\d+ %"))
    page.get_by_role("button", name=f"Watch {name}").click()
    expect(page.locator("#watch-screen")).to_contain_text("ready")
    watched = user.page.locator("#banners [data-key=notice-watched]")
    expect(watched).to_contain_text("watched by the operator")
    user.page.click("#program-term")
    user.type("one\n")
    expect(page.locator("#watch-screen")).to_contain_text("got one")
    page.click("#watch-screen")
    page.keyboard.type("two\n")  # who watches types nothing
    page.get_by_role("button", name="Close").click()
    expect(watched).to_have_count(0)
    assert "two" not in user.text()

    page.get_by_role("button", name=f"Send a notice to {name}").click()
    page.get_by_label("Text", exact=True).fill("restart at 10 o'clock")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(user.page.locator("#banners")).to_contain_text("restart at 10 o'clock")
    page.get_by_role("button", name=f"End {name}").click()
    page.get_by_role("button", name="Cancel").click()
    expect(live).to_have_count(1)
    page.get_by_role("button", name=f"End {name}").click()
    page.get_by_label("Reason", exact=True).fill("mining coins")
    page.get_by_role("button", name="End it").click()
    expect(live).to_have_count(0)
    expect(user.page.locator("body")).to_contain_text("ended by the operator: mining coins")


def test_the_room_of_a_session_is_shown_and_charted(
    open_tab: Callable[..., Tab], server: Server, user: Tab
) -> None:
    pupil = signed_in(open_tab, server, bearer(key_of(server, "anna", "algebra-1")))
    pupil.run(PROGRAM)
    pupil.sees("ready")
    page = at(open_tab, server, "sessions")
    for tab, room in ((pupil, "algebra-1"), (user, "–")):
        live = row(page, "session-rows", session_of(tab))
        expect(live.locator("[data-label=Room]")).to_have_text(room)
    go(page, "overview")
    chart = page.locator(".chart[data-title='Use by room']").get_by_role("img")
    expect(chart).to_have_attribute("aria-label", "Use by room: algebra-1 1")


def test_who_waits_and_what_is_held_ready(open_tab: Callable[..., Tab], server: Server, user: Tab) -> None:
    other = open_tab()
    other.allowed.append(OVER)
    other.run(PROGRAM)
    other.sees("ready")
    third = open_tab()
    third.run(PROGRAM)
    page = at(open_tab, server, "queue")
    waiter = page.locator("#waiter-rows tr")
    expect(waiter).to_have_count(1)
    expect(waiter).to_contain_text("127.0.0.1")
    expect(waiter).to_contain_text("bash")
    expect(page.locator("#workers")).to_contain_text("Busy")
    expect(row(page, "warm-rows", "bash")).to_have_count(1)
    engine = page.locator("#engine")
    expect(engine).to_contain_text("Version")
    expect(engine).not_to_contain_text("does not answer")
    go(page, "overview")
    expect(page.locator("#tiles")).to_contain_text("2 of 2")
    expect(page.locator("#warnings")).to_contain_text("All 2 slots are taken")
    go(page, "sessions")
    page.get_by_role("button", name=f"End {session_of(other)}").click()
    page.get_by_label("Reason", exact=True).fill("somebody waits")
    page.get_by_role("button", name="End it").click()
    third.sees("ready")
    go(page, "queue")
    expect(page.locator("#no-waiters")).to_be_visible()


def test_a_key_is_made_shown_once_used_and_revoked(open_tab: Callable[..., Tab], server: Server) -> None:
    page = at(open_tab, server, "keys", allowed="status of 400 .*/api/admin/keys")
    page.locator("#key-name").fill("grader <b>")
    page.locator("#key-role").select_option("teacher")
    page.locator("#key-rooms").fill("algebra-1, botany")
    page.get_by_label("Ends after days").fill("90")
    page.get_by_role("button", name="Make a key").click()
    text = page.locator("#made-key-text")
    expect(text).to_have_text(re.compile(r"crk_[0-9a-f]{12}_\S{43}"))
    key = str(text.text_content())
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#status")).to_have_text("The key is in the clipboard.")
    assert page.evaluate("navigator.clipboard.readText()") == key
    made = row(page, "key-rows", "grader <b>")
    for word in ("good", "teacher of algebra-1, botany", key.split("_")[1]):
        expect(made).to_contain_text(word)
    go(page, "log")
    go(page, "keys")
    expect(page.locator("#made-key")).to_be_hidden()
    assert key not in page.content()
    assert status_of(server, "api/identity", key) == 200, "at once"
    assert status_of(server, "api/admin/overview", key) == 403

    page.get_by_role("button", name="Revoke grader").click()
    page.get_by_role("button", name="Revoke it").click()
    expect(made).to_contain_text("revoked")
    expect(made.get_by_role("button")).to_have_count(0)
    assert status_of(server, "api/identity", key) == 401, "at once"
    page.locator("#key-name").fill("x")
    page.locator("#key-rooms").fill("../x")
    page.get_by_role("button", name="Make a key").click()
    expect(page.locator("#problem")).to_contain_text("a room: up to 64 of")


def test_a_table_is_filtered_and_ordered(open_tab: Callable[..., Tab], server: Server) -> None:
    for name in ("zoe", "Adam"):
        key_of(server, name, "geometry")
    page = at(open_tab, server, "keys")
    rows, head = page.locator("#key-rows tr"), page.locator("#keys th", has_text="Name").first
    page.get_by_label("Find keys").fill("GEOMETRY good")
    expect(rows).to_have_count(2)
    for order, first in (("ascending", "Adam"), ("descending", "zoe")):
        head.get_by_role("button").click()
        expect(rows.first).to_contain_text(first)
        expect(head).to_have_attribute("aria-sort", order)
    head.get_by_role("button").click()
    expect(head).not_to_have_attribute("aria-sort", re.compile(".*"))
    page.get_by_label("Find keys").fill("geometry of-nobody")
    expect(page.locator("#key-rows-none")).to_be_visible()
    expect(rows).to_have_count(0)


def test_quotas_and_what_was_used(open_tab: Callable[..., Tab], server: Server) -> None:
    # A run counts until the end of its minute.
    wait_until(lambda: time.time() % 60 < 40, 30, "a minute that does not end at once")
    running(open_tab)
    page = at(open_tab, server, "keys")
    of_user = page.locator("#quota-rows tr").nth(1)
    for word in ("user", "30", "2 h 0 min", "bash", "groups"):
        expect(of_user).to_contain_text(word)
    expect(page.locator("#quota-rows tr").nth(3)).to_contain_text("unlimited")
    expect(row(page, "used-rows", "127.0.0.1")).to_have_count(1)


def test_images_and_a_job(open_tab: Callable[..., Tab], server: Server) -> None:
    page = at(open_tab, server, "images")
    expect(row(page, "image-rows", "bash")).to_contain_text("ready")
    expect(row(page, "image-rows", "bash")).to_contain_text("coderunner/bash:")
    page.get_by_role("button", name="Remove unused").click()
    expect(page.locator("#ask-title")).to_have_text("Remove images that no server uses")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#jobs")).to_be_empty()
    page.get_by_role("button", name="Build what is missing").click()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#jobs .card")).to_contain_text("build : done")


def test_charts_after_use_and_their_report(open_tab: Callable[..., Tab], server: Server, user: Tab) -> None:
    user.type("one\n")
    user.sees("got one")
    page = at(open_tab, server)
    chart = page.locator(".chart[data-title='Use by language']")
    expect(chart.get_by_role("img")).to_have_attribute("aria-label", re.compile("bash [1-9]"))
    # Asked again: a chart may be drawn anew at any time.
    wide = "title => document.querySelector(`.chart[data-title='${title}'] canvas`)?.clientWidth > 200"
    page.wait_for_function(wide, arg="Use by language")
    chart.locator("summary").click()
    expect(chart.locator("tbody tr")).not_to_have_count(0)
    for hours in ("1", "1488"):
        page.get_by_label("Charts of the last").select_option(hours)
        expect(chart.get_by_role("img")).to_have_attribute("aria-label", re.compile("bash"))
    page.get_by_label("Report of").select_option("31")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "coderunner-report.csv"
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert rows
    assert int(rows[-1]["sessions_opened"]) >= 1


def test_the_log_is_filtered(open_tab: Callable[..., Tab], server: Server, user: Tab) -> None:
    page = at(open_tab, server, "log")
    name = session_of(user)
    expect(page.locator("#log-rows tr")).not_to_have_count(0)
    page.get_by_label("With the text").fill(name)
    expect(page.locator("#log-rows tr", has_text="session opened")).to_have_count(1)
    expect(page.locator("#log-rows tr").filter(has_not_text=name)).to_have_count(0)
    page.get_by_label("From").select_option("error")
    expect(page.locator("#log-rows tr")).to_have_count(0)
    expect(page.locator("#log-about")).to_contain_text("0 of")


def test_settings_are_shown_and_no_secret(open_tab: Callable[..., Tab], server: Server) -> None:
    page = at(open_tab, server, "settings")
    page.get_by_label("Filter").fill("ADMIN_KEY")
    expect(
        page.locator("#setting-rows tr").filter(has=page.get_by_text("ADMIN_KEY", exact=True))
    ).to_contain_text("***")
    assert KEY not in page.content()
    page.get_by_label("Filter").fill("MAX_CONCURRENT_SESSIONS")
    expect(row(page, "setting-rows", "MAX_CONCURRENT_SESSIONS").first).to_contain_text("2")


def test_draining_and_back(open_tab: Callable[..., Tab], server: Server) -> None:
    page = at(open_tab, server)
    page.get_by_role("button", name="Drain").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#status")).to_contain_text("Draining")
    expect(page.locator("#tiles")).to_contain_text("draining")
    body = {"language": "bash", "source": "echo 1"}
    assert status_of(server, "api/run", KEY, "POST", body) == 503
    page.get_by_role("button", name="Take sessions again").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#status")).to_have_text("")
    expect(page.locator("#tiles")).to_contain_text("ready")
    assert status_of(server, "api/run", KEY, "POST", body) == 200


def test_a_load_test_has_progress_and_keeps_its_report(open_tab: Callable[..., Tab], server: Server) -> None:
    page = at(open_tab, server, "loadtest")
    page.get_by_label("Sessions at one time").fill("2")
    page.get_by_label("Seconds").fill("6")
    page.locator("#load-language").select_option("bash")
    page.get_by_role("button", name="Start").click()
    card = page.locator("#load-tests .card").first
    expect(card).to_contain_text("2 sessions for 6 s, bash: running")
    expect(card.get_by_role("progressbar", name="Progress")).to_be_visible()
    expect(card).to_contain_text("bash: done", timeout=60_000)
    expect(card).to_contain_text(re.compile(r"[1-9]\d* sessions, [1-9]\d* runs"))
    page.reload()
    expect(card).to_contain_text("bash: done")
    wait_until(lambda: server.stats()["queue"]["active"] == 0, 30, "its sessions gone")


def test_a_load_test_waits_for_places(open_tab: Callable[..., Tab], server: Server, user: Tab) -> None:
    other = open_tab()
    other.run(PROGRAM)
    other.sees("ready")
    page = at(open_tab, server, "loadtest")
    page.get_by_label("Sessions at one time").fill("3")
    page.get_by_label("Seconds").fill("300")
    page.locator("#load-language").select_option("bash")
    page.get_by_role("button", name="Start").click()
    card = page.locator("#load-tests .card").first
    expect(card).to_contain_text("bash: running, 3 of 3 wait for places", timeout=60_000)
    page.get_by_role("button", name="Cancel").click()
    expect(card).to_contain_text("bash: cancelled")
    expect(card).not_to_contain_text("wait for places")


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, PHONE], ids=["dark", "phone"])
def test_it_is_accessible_and_as_wide_as_the_screen(
    open_tab: Callable[..., Tab], server: Server, user: Tab, options: dict[str, Any]
) -> None:
    tab = signed_in(lambda url, **more: open_tab(url, **more, **options), server, bearer(KEY), "admin")
    page = tab.page
    for section in SECTIONS:
        go(page, section)
        page.wait_for_load_state("networkidle")
        check(tab, section)
        wide, width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= width, section
        link = page.locator(f"nav a[href='#{section}']").bounding_box()
        assert link is not None
        assert link["x"] >= 0, section
        assert link["x"] + link["width"] <= width, section
    go(page, "sessions")
    for name in ("Watch", "Send a notice to", "End"):
        button = page.get_by_role("button", name=f"{name} {session_of(user)}")
        box = button.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= page.evaluate("innerWidth"), "without scrolling aside"
        button.click()
        dialog = page.locator("dialog[open]")
        expect(dialog).to_be_visible()
        check(tab, name)
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
