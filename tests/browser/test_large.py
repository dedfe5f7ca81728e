"""A large file costs no more to type into than a small one."""

from __future__ import annotations

import pytest

from tests.browser.tab import Tab

pytestmark = pytest.mark.timed

KEYS = 40
TIMES_SMALL = 5.0  # the page's own time for a key, with drawing, keeping and all else, of a file of few lines


def work(tab: Tab, keys: int) -> float:
    """Milliseconds of the page's thread for each of ``keys`` that are typed."""
    cdp = tab.page.context.new_cdp_session(tab.page)
    cdp.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        metrics = {one["name"]: one["value"] for one in cdp.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    before = spent()
    for number in range(keys):
        tab.page.keyboard.press("abcdefghij"[number % 10])
        tab.page.wait_for_timeout(25)
    tab.until("!coderunner.desk.project.unsaved")  # and it is kept
    return (spent() - before) * 1000 / keys


@pytest.mark.parametrize(
    "count", [7_000, *(pytest.param(count, marks=pytest.mark.long) for count in (20_000, 50_000))]
)
def test_a_key_in_a_large_file(tab: Tab, count: int) -> None:
    tab.page.click(".cm-content")
    work(tab, KEYS)  # until all of it is compiled
    small = work(tab, KEYS)
    lines = "".join(f"value_{number} = compute({number}, 'some words')\n" for number in range(count))
    tab.get("(text) => coderunner.desk.project.create('large.py', text)", lines)
    tab.until(f"coderunner.editor.view.state.doc.length === {len(lines)}")
    tab.page.wait_for_timeout(1500)  # the grammar and the first saving are no part of a key
    for place in ("start", "end"):
        tab.get(
            "(at) => { const { view } = coderunner.editor; view.focus();"
            " view.dispatch({ selection: { anchor: at === 'end' ? view.state.doc.length : 0 },"
            " scrollIntoView: true }); }",
            place,
        )
        tab.page.wait_for_timeout(1500)
        took = work(tab, KEYS)
        print(f"{len(lines)} {place}: {took:.1f} ms a key, in a small file {small:.1f}")
        assert took < TIMES_SMALL * small, (place, took, small)
    tab.until("!coderunner.desk.project.unsaved")
