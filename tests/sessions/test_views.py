"""How long the URL of a file is valid: minutes, or as long as a client with the token extends it."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from coderunner.core.capability import read
from coderunner.sessions.holdings import Holdings
from coderunner.sessions.views import COST, MAX_ADDRESSES, MAX_WORDS, WORD_SECONDS, Views

KEY = b"k" * 32


class Now:
    at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def holdings() -> Holdings:
    return Holdings()


@pytest.fixture
def views(now: Now, holdings: Holdings) -> Views:
    return Views(KEY, "s-1", holdings, 300, now)


def opens(views: Views, url: str) -> bool:
    _, session, text, path = url.split("/", 3)
    capability = read(KEY, session, text, unquote(path))
    assert capability
    return views.good(text, capability)


def test_it_ends_by_itself(views: Views, now: Now) -> None:
    url = views.url("out/plot ü.png", "image/png")
    assert opens(views, url)
    now.at += 298
    assert opens(views, url)
    now.at += 3
    assert not opens(views, url)
    assert opens(views, views.url("out/plot ü.png", "image/png"))


def test_it_goes_on_for_as_long_as_it_is_kept(views: Views, now: Now) -> None:
    url, other = views.url("a.html", "text/html"), views.url("b.png", "image/png")
    for _ in range(20):
        now.at += 200
        assert views.keep(url)
        assert opens(views, url)
    assert not opens(views, other)
    now.at += 301
    assert not opens(views, url)
    assert views.keep(url)  # a page that slept: it has the token, as it had before
    assert opens(views, url)


def test_another_server_reads_what_this_one_gave_and_keeps_it_anew(views: Views, now: Now) -> None:
    url = views.url("a.png", "image/png")
    again = Views(KEY, "s-1", Holdings(), 300, now)
    assert opens(again, url)
    now.at += 1000
    views.keep(url)
    assert not opens(again, url)
    assert again.keep(url)
    assert opens(again, url)


@pytest.mark.parametrize(
    "url",
    ["", "view/s-1", "view/s-1/x/a.png", "view/s-2/{0}/a.png", "view/s-1/{0}/b.png", "/view/s-1/{0}/a.png",
     "view/s-1/{0}/", "view/s-1/{0}", "http://elsewhere/view/s-1/{0}/a.png", "view/s-1/{0}/a%2Epn", "\ud800"],
)  # fmt: skip
def test_what_was_never_given_is_not_kept(views: Views, url: str) -> None:
    text = views.url("a.png", "image/png").split("/")[2]
    assert not views.keep(url.format(text))


def test_what_is_from_the_future_is_not_good(views: Views, now: Now) -> None:
    now.at += 100_000
    url = views.url("a.png", "image/png")
    now.at -= 100_000
    assert not opens(views, url)


def test_what_is_kept_has_a_bound_and_is_counted(views: Views, now: Now, holdings: Holdings) -> None:
    urls = [views.url(f"{n}.png", "image/png") for n in range(MAX_ADDRESSES + 10)]
    now.at += 400
    for url in urls:
        assert views.keep(url)
    for _ in range(MAX_WORDS + 10):
        views.word()
    assert holdings.held == COST * (MAX_ADDRESSES + MAX_WORDS)
    assert [opens(views, url) for url in urls] == [False] * 10 + [True] * MAX_ADDRESSES
    views.empty()
    assert holdings.held == 0


def test_a_word_is_good_once_and_not_for_long(views: Views, now: Now) -> None:
    word, late = views.word(), views.word()
    assert views.use_word(word)
    assert not views.use_word(word)
    now.at += WORD_SECONDS + 1
    assert not views.use_word(late)
    assert not views.use_word("")
