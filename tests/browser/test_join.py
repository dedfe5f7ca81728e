"""A link to a session that an agent has open: a person takes over in the middle of a line, and hands back."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.harness import Server, wait_until

ASKS = "name = input('Name? ')\nprint(f'Hello, {name}!')\ninput('again? ')\n"


class Caller:
    """The agent's side, over plain HTTP."""

    def __init__(self, server: Server) -> None:
        self._base, self._headers = server.url, {"Content-Type": "application/json"}
        self.opened = self("POST", "api/sessions", {"language": "python"})
        self._headers["Authorization"] = f"Bearer {self.opened['token']}"
        self._base += f"api/sessions/{self.opened['session']}"

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, self._headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def output(self) -> str:
        told = self("GET", "/events?wait=1")["events"]
        return "".join(one["data"]["text"] for one in told if one["data"]["type"] == "output")


def test_a_person_takes_over_and_hands_back(server, open_tab):
    agent = Caller(server)
    files = [{"path": "main.py", "content": ASKS}]
    agent("POST", "/run", {"channel": 1, "mode": "tty", "cols": 80, "rows": 24, "files": files})
    wait_until(lambda: "Name? " in agent.output(), 20, "the question")
    agent("POST", "/input", {"channel": 1, "offset": 0, "text": "Gra"})
    wait_until(lambda: "Name? Gra" in agent.output(), 20, "the echo")

    opened = agent.opened
    behind = f"#session={opened['session']}&token={opened['token']}&language=python"
    tab = open_tab(server.url + behind)
    tab.sees("Name? Gra")
    assert tab.page.evaluate("location.href") == server.url  # the token stands nowhere any more
    tab.page.click("#program-term")
    tab.type("ce\n")
    tab.sees("Hello, Grace!")
    wait_until(lambda: "Hello, Grace!" in agent.output(), 20, "what the person did")

    agent("POST", "/take", {})
    tab.banner("You are watching")
    agent("POST", "/input", {"channel": 1, "offset": 6, "text": "yes"})
    tab.sees("again? yes")
