"""What the page keeps in memory does not grow with what was run."""

from __future__ import annotations

import pytest

from tests.browser.tab import Tab

RUNS = 24
FILE = 550_000  # bytes; each run kept the files that it had sent, 13.8 MB after 24
MOST = 4_000_000  # bytes that the runs may leave behind, of which the output's lines are a part


@pytest.mark.long
def test_runs_of_a_large_file_leave_nothing_behind(tab: Tab) -> None:
    cdp = tab.page.context.new_cdp_session(tab.page)

    def used() -> int:
        cdp.send("HeapProfiler.collectGarbage")
        return int(cdp.send("Runtime.getHeapUsage")["usedSize"])

    def runs(numbers: range) -> None:
        for number in numbers:
            tab.run(f"print(len(open('data.txt').read()), 'run', {number})")
            tab.sees(f"{FILE} run {number}").ended("Finished")

    lines = "x" * 99 + "\n" + "y" * (FILE - 100)
    tab.get("(text) => coderunner.desk.project.create('data.txt', text)", lines)
    tab.get("() => coderunner.desk.project.show('main.py')")
    runs(range(4))  # until all that is made once is made
    before = used()
    runs(range(4, 4 + RUNS))
    left = used() - before
    print(f"{RUNS} runs left {left} bytes")
    assert left < MOST
