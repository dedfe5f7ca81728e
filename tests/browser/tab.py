"""A page of the web client in a real browser, and what a user does with it."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from playwright.sync_api import ConsoleMessage, Page

SECONDS = 20
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"  # the browser drops what it loads: other tests make networks
# The terminal library tells that a piece of its work took longer than it wanted: that is the machine's speed.
SLOW = "task queue exceeded allotted deadline"
VIOLATIONS = """addEventListener('securitypolicyviolation', (event) => console.error(
  `policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));"""


class Tab:
    """``faults`` collects whatever the console has to complain about; tests end with it being empty."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        self.allowed: list[str] = [NETWORK_CHANGED, SLOW]
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.add_init_script(VIOLATIONS)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def check(self) -> None:
        left = [fault for fault in self.faults if not any(re.search(one, fault) for one in self.allowed)]
        assert left == [], "\n".join(left)

    def open(self) -> Tab:
        self.page.goto(self.url)
        return self.ready()

    def reload(self) -> Tab:
        self.page.reload()
        return self.ready()

    def ready(self) -> Tab:
        """Until the page is; where a network of this machine came or went while it loaded, once more."""
        for _ in range(4):
            self._loads()
            lost = [fault for fault in self.faults if NETWORK_CHANGED in fault]
            if not lost:
                break
            self.faults = [fault for fault in self.faults if fault not in lost]
            self.page.reload()
        self.page.wait_for_selector("body[data-ready]", timeout=SECONDS * 1000)
        return self

    def _loads(self) -> None:
        deadline = time.monotonic() + SECONDS
        while not self.page.query_selector("body[data-ready]"):
            if time.monotonic() > deadline or any(NETWORK_CHANGED in fault for fault in self.faults):
                return
            self.page.wait_for_timeout(20)

    def get(self, expression: str, argument: Any = None) -> Any:
        return self.page.evaluate(expression, argument)

    def until(self, expression: str, *, seconds: float = SECONDS) -> Any:
        """Until a JavaScript expression is true; its value.  (Playwright's own breaks the policy.)"""
        deadline = time.monotonic() + seconds
        while True:
            value = self.get(expression)
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not within {seconds} s: {expression}\nprogram: {self.text()[-800:]!r}\n"
                    f"shell: {self.text('shell')[-800:]!r}\noutcome: {self.outcome()!r}"
                )
            self.page.wait_for_timeout(20)

    def shows(self, expression: str, wanted: Any, *, why: str = "", seconds: float = SECONDS) -> Any:
        """Until a JavaScript expression has this value, or one for which ``wanted`` is true; the value.

        What an action changes, the page may change in its next frame: so this, and no look at once.
        """
        fits = wanted if callable(wanted) else lambda now: now == wanted
        deadline = time.monotonic() + seconds
        while not fits(value := self.get(expression)):
            assert time.monotonic() < deadline, f"{why or expression}: not within {seconds} s, but {value!r}"
            self.page.wait_for_timeout(20)
        return value

    # --- what a user does --------------------------------------------------------------------------------

    def language(self, title: str) -> Tab:
        self.page.click("#language")
        self.page.fill("#language-filter", title)
        self.page.locator("#language-list [role=menuitemradio]").filter(
            has=self.page.get_by_text(title, exact=True)
        ).click()
        self.until(f"coderunner.desk.project.language.title === {_js(title)}")
        return self

    def code(self, text: str) -> Tab:
        self.get(
            """(text) => { const { view } = coderunner.editor;
                view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }); }""",
            text,
        )
        return self

    def run(self, text: str | None = None) -> Tab:
        if text is not None:
            self.code(text)
        self.page.click("#run")
        return self

    def shell(self) -> Tab:
        self.page.click("#open-shell")
        self.until("coderunner.screens.shell.running && coderunner.text('shell').includes('$')")
        return self

    def type(self, text: str) -> Tab:
        self.page.keyboard.type(text)
        return self

    def pipes(self) -> Tab:
        self.page.click("#options")
        self.page.get_by_role("radio", name="Pipes").check()
        self.page.keyboard.press("Escape")
        return self

    # --- what a user sees --------------------------------------------------------------------------------

    def text(self, name: str = "program") -> str:
        return str(self.get("(name) => coderunner.text(name)", name))

    def sees(self, text: str, name: str = "program", *, seconds: float = SECONDS) -> Tab:
        self.until(f"coderunner.text({name!r}).includes({_js(text)})", seconds=seconds)
        return self

    def outcome(self) -> str:
        return str(self.get("document.getElementById('outcome').innerText")).replace("\n", " · ")

    def ended(self, words: str, *, seconds: float = SECONDS) -> str:
        """Until the program has ended; the outcome, which begins with ``words``."""
        self.until(
            "['good', 'bad', 'plain'].includes(document.getElementById('outcome').dataset.tone)",
            seconds=seconds,
        )
        outcome = self.outcome().strip(" ·")
        assert outcome.startswith(words), (outcome, self.text()[-800:])
        return outcome

    def banner(self, words: str, *, seconds: float = SECONDS) -> Tab:
        self.page.wait_for_selector(f".banner:has-text({_js(words)})", timeout=seconds * 1000)
        return self


def _js(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a selector of CSS knows no \u
