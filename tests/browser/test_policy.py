"""What the page does for its libraries' sake, and whether they still need it."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.tab import Tab

# The two functions of the DOM that static/app/policy.js replaces stay the browser's own.
WITHOUT = """for (const [owner, name] of [[document, 'createElement'], [Element.prototype, 'setAttribute']]) {
    const own = owner[name];
    Object.defineProperty(owner, name, { get: () => own, set() {} });
}"""


def test_the_libraries_still_make_styles_that_the_policy_forbids(open_tab: Callable[..., Tab]) -> None:
    """Where this fails, one of them has been mended: static/app/policy.js does less then, or goes."""
    tab = open_tab(load=False)
    tab.allowed += ["policy violated: style-src", "Applying inline style"]  # also behind the look below
    tab.page.add_init_script(WITHOUT)
    tab.open().language("Python")
    tab.run("print('\\x1b[38;2;200;40;40mred')\n")
    tab.ended("Finished")
    tab.until("getComputedStyle(document.querySelector('.cm-editor')).display !== 'flex'")
    broken = [fault for fault in tab.faults if fault.startswith("error: policy violated")]
    tab.faults.clear()  # all others are the browser's words for the same
    assert any("style-src-attr" in fault for fault in broken), broken  # xterm.js: colours of its cells
    assert len([fault for fault in broken if "style-src-elem" in fault]) >= 3, broken  # both: sheets
