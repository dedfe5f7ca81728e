"""The library's examples in `docs/clients.md`, with a pattern of what each prints."""

from __future__ import annotations

import re

from tests.harness import ROOT

SEEN = [
    r"cba\n 0\nstdout b'hello Ada\\n'\n",
    r"1\n2\n3\nended with 4\n2 passed\n",
    r"exited 0 b'hello Ada\\n'\n\['main.py', 'out.txt'\]\n",
    r".*30 100\r?\n.*begun\nstopped\n",
    r"\[b\"b'hello'\\n\"\]\n",
]
EXAMPLES = list(
    zip(
        re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/clients.md").read_text(), re.M | re.S),
        SEEN,
        strict=True,
    )
)
