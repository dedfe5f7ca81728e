"""The wall of a room: a teacher sees its sessions, watches one, takes it over with a word, hands it back."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.tab import Tab
from tests.browser.test_accessible import check
from tests.browser.test_room_choice import signed_in
from tests.browser.test_texts import whole
from tests.harness import Server, running_server
from tests.web.test_rooms import SETTINGS, tina, who

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

PROGRAM = "echo ready\nwhile read line; do echo got $line; done\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("wall"), ready=("bash",), **SETTINGS) as one:
        yield one


@pytest.fixture
def anna(open_tab: Callable[..., Tab], server: Server) -> Tab:
    """A student whose program runs."""
    tab = signed_in(open_tab, server, who("anna", "algebra"))
    tab.run(PROGRAM)
    return tab.sees("ready")


def wall_of(open_tab: Callable[..., Tab], server: Server, headers: dict[str, str], **options) -> Tab:
    path = f"room/algebra{options.pop('query', '')}"
    return signed_in(lambda url, **more: open_tab(url, **more, **options), server, headers, path)


def tile(tab: Tab) -> Locator:
    return tab.page.locator("#wall li", has_text="Anna")


def test_a_teacher_sees_takes_over_and_hands_back(
    open_tab: Callable[..., Tab], server: Server, anna: Tab
) -> None:
    tab = wall_of(open_tab, server, tina())
    page, watched = tab.page, anna.page.locator("#banners [data-key=notice-watched]")
    expect(tile(tab)).to_contain_text("running · bash")
    expect(tile(tab).locator("pre")).to_have_text("ready")
    expect(page.locator("#count")).to_have_text("1 session, 1 running")
    expect(watched).to_contain_text("watched by Tina, a teacher of algebra")
    anna.page.click("#program-term")
    anna.type("one\n")
    expect(tile(tab).locator("pre")).to_contain_text("got one")

    page.get_by_role("button", name="Watch Anna").click()
    screen = page.locator("#watch-screen")
    expect(screen).to_contain_text("got one")
    page.click("#watch-screen")
    page.keyboard.type("nothing\n")  # who watches types nothing
    page.get_by_label("Why, in words for its owner").fill("look at line 3")
    page.get_by_role("button", name="Take over").click()
    taken = anna.page.locator("#banners [data-key=notice-taken_over]")
    expect(taken).to_contain_text("Tina, a teacher of algebra, has taken over: look at line 3")
    expect(page.locator("#watch-about")).to_contain_text("You have the control")
    page.click("#watch-screen")
    page.keyboard.type("two\n")
    anna.sees("got two")
    assert "nothing" not in anna.text()
    page.get_by_role("button", name="Hand back").click()
    expect(taken).to_have_count(0)
    expect(page.locator("#take-form")).to_be_visible()
    page.get_by_role("button", name="Close").click()

    page.fill("#find", "nobody of this name")
    expect(page.locator("#no-match")).to_be_visible()
    page.fill("#find", "ann")
    expect(tile(tab)).to_be_visible()
    page.close()
    expect(watched).to_have_count(0)


def test_a_hand_is_raised_and_lowered_and_a_teacher_says_something(
    open_tab: Callable[..., Tab], server: Server, anna: Tab
) -> None:
    tab = wall_of(open_tab, server, tina())
    hand = anna.page.get_by_role("button", name="Raise your hand to your teachers")
    hand.click()
    expect(anna.page.get_by_role("button", name="Lower your hand")).to_have_attribute("aria-pressed", "true")
    expect(tile(tab)).to_contain_text("Hand raised at")
    expect(tab.page.locator("#count")).to_contain_text("1 hand is raised")
    check(tab, "a raised hand")
    check(anna, "a raised hand of one's own")
    tab.page.get_by_role("button", name="Lower the hand of Anna").click()
    expect(hand).to_have_attribute("aria-pressed", "false")
    expect(tile(tab).locator(".hand")).to_be_hidden()
    for opener, words in (("Message to Anna", "look at line 3"), ("Message to all", "ten minutes more")):
        tab.page.get_by_role("button", name=opener).click()
        check(tab, opener)
        tab.page.get_by_label("Text").fill(words)
        tab.page.get_by_role("button", name="Send").click()
        expect(anna.page.locator("#banners")).to_contain_text(f"Tina, a teacher of algebra: {words}")
        expect(tab.page.locator("#status")).to_have_text("Shown in 1 page.")


def test_files_are_handed_out_and_collected(open_tab: Callable[..., Tab], server: Server, anna: Tab) -> None:
    tab = wall_of(open_tab, server, tina())
    page = tab.page
    page.get_by_role("button", name="Hand out files").click()
    check(tab, "handing out")
    sheet = {"name": "sheet.txt", "mimeType": "text/plain", "buffer": b"one and one"}
    page.set_input_files("#hand-out-files", files=[sheet])
    page.get_by_label("Folder").fill("week-3")
    page.locator("#hand-out-send").click()
    expect(page.locator("#status")).to_have_text("1 file handed out to 1 session.")
    expect(anna.page.locator("#banners")).to_contain_text("Tina, a teacher of algebra: week-3")
    anna.page.locator("#tree li", has_text="week-3").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Collect all files").click()
    with zipfile.ZipFile(download.value.path()) as whole:
        (name,) = [name for name in whole.namelist() if name.endswith("/week-3/sheet.txt")]
        assert whole.read(name) == b"one and one"
    assert download.value.suggested_filename == "algebra.zip"
    collected = anna.page.locator("#banners [data-key=notice-collected]")
    expect(collected).to_contain_text("A teacher has collected the files of this session")


def test_it_is_accessible_on_a_phone_too_and_its_texts_are_whole(
    open_tab: Callable[..., Tab], server: Server, anna: Tab
) -> None:
    for options in (
        {"color_scheme": "dark"},
        {"viewport": {"width": 390, "height": 760}, "has_touch": True, "is_mobile": True},
    ):
        tab = wall_of(open_tab, server, tina(), **options)
        tile(tab).wait_for()
        check(tab, "the wall")
        wide = tab.get("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, "nothing has to be scrolled sideways"
        tab.page.focus("#wall button")
        tab.page.keyboard.press("Enter")
        expect(tab.page.locator("#watch-screen")).to_contain_text("ready")
        check(tab, "watching")
        tab.page.keyboard.press("Escape")
        expect(tab.page.locator("#watch")).to_be_hidden()
        tab.page.close()
    tab = wall_of(open_tab, server, tina(), query="?lang=qps")
    tile(tab).wait_for()
    tab.page.fill("#find", "nobody of this name")
    whole(tab, "the wall without a match")


def test_the_page_has_the_way_to_it_for_teachers_alone(
    open_tab: Callable[..., Tab], server: Server, anna: Tab
) -> None:
    anna.page.click("#more")
    expect(anna.page.locator("#menu-walls")).to_be_hidden()
    tab = signed_in(open_tab, server, tina())
    tab.page.click("#more")
    with tab.page.context.expect_page() as opened:
        tab.page.get_by_role("menuitem", name="Wall of the room algebra").click()
    opened.value.wait_for_url(server.url + "room/algebra")
    opened.value.close()


def test_a_student_sees_no_wall_and_a_teacher_signs_in_there(
    open_tab: Callable[..., Tab], server: Server
) -> None:
    tab = wall_of(open_tab, server, who("carl", "algebra"))
    tab.allowed.append("status of 40[13]")  # the browser tells of each refusal
    expect(tab.page.locator("#problem")).to_contain_text("You are not a teacher of this room")
    expect(tab.page.locator("#room")).to_be_hidden()
    check(tab, "who are you?")
    tab.page.get_by_label("Your key").fill("no-such-key")
    tab.page.click("#login button.primary")
    expect(tab.page.locator("#problem")).to_have_text("This server does not know that key.")
    tab.page.get_by_label("Your key").fill(tina()["Authorization"].removeprefix("Bearer "))
    tab.page.click("#login button.primary")
    expect(tab.page.locator("#none")).to_be_visible()
    tab.page.click("#leave")
    expect(tab.page.locator("#login")).to_be_visible()


def test_an_operator_watches_from_the_wall_and_from_its_own_page(
    open_tab: Callable[..., Tab], server: Server, anna: Tab
) -> None:
    tab = wall_of(open_tab, server, who("olga"))
    tab.page.get_by_role("button", name="Watch Anna").click()
    expect(tab.page.locator("#watch-screen")).to_contain_text("ready")
    expect(tab.page.locator("#watch-about")).to_contain_text("cannot take over")
    expect(tab.page.locator("#take-form")).to_be_hidden()
    tab.page.close()
    tab = signed_in(open_tab, server, who("olga"), "admin#sessions")
    tab.page.get_by_role("button", name="Watch ").click()
    expect(tab.page.locator("#watch-screen")).to_contain_text("ready")
    watched = anna.page.locator("#banners [data-key=notice-watched]")
    expect(watched).to_contain_text("watched by the operator")
