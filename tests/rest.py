"""Requests with a session's token, for tests."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from coderunner.schema import messages as m


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The status, and the error's code where it is one."""
        return f"{self.status} {self.document['error']['code']}" if self.status >= 400 else f"{self.status}"


class Rest:
    """``url`` ends with a slash."""

    def __init__(self, url: str, opened: m.Opened) -> None:
        self.base = f"{url}api/sessions/{opened.session}"
        self.token = opened.token

    def __call__(
        self,
        method: str,
        path: str = "",
        body: bytes | None = None,
        document: Any = None,
        **headers: str,
    ) -> Answer:
        if document is not None:
            body = json.dumps(document).encode()
        all_headers = {"Authorization": f"Bearer {self.token}", **headers}
        url = self.base + urllib.parse.quote(path, safe="/?=&%")
        return ask(urllib.request.Request(url, body, all_headers, method=method))

    def paths(self) -> list[str]:
        return [one["path"] for one in self("GET", "/files").document["files"]]


def ask(request: urllib.request.Request | str) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())
