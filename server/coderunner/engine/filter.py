"""Makes the seccomp profile for the engine from `seccomp.json`.

The file has the engine's format and one additional key. A filter can only compare for equality under a mask;
`"without": {"index": 1, "values": [26, 50], "below": 128}` stands for all values of that argument below the
bound except these, and is expanded to the blocks of numbers between them. Masks have 32 bits, as the kernel
ignores the upper half of an `int`: a filter that compared 64 bits could be evaded by setting a bit there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

ALL_BITS = 0xFFFF_FFFF


@cache
def seccomp_profile() -> str:
    """The profile as JSON without white space."""
    document = json.loads((files("coderunner.engine") / "seccomp.json").read_text("utf-8"))
    # Written out here and not in the file: seven values become twenty conditions.
    document["syscalls"] = [rule for entry in document["syscalls"] for rule in _written_out(entry)]
    return json.dumps(document, separators=(",", ":"))


def _written_out(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "without" not in entry:
        yield dict(entry)
        return
    rest = {key: value for key, value in entry.items() if key != "without"}
    without = entry["without"]
    for mask, value in blocks(without["values"], without["below"]):
        condition = {"index": without["index"], "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
        yield {**rest, "args": [*entry.get("args", ()), condition]}


def blocks(values: Sequence[int], below: int) -> Iterator[tuple[int, int]]:
    """Yields (mask, value) of the largest blocks that cover all numbers below `below` (a power of two) except
    `values`."""

    def look(begin: int, size: int) -> Iterator[tuple[int, int]]:
        # A block without any of the values needs one condition; otherwise its halves are looked at.
        if not any(begin <= one < begin + size for one in values):
            yield ALL_BITS & ~(size - 1), begin
        elif size > 1:
            yield from look(begin, size // 2)
            yield from look(begin + size // 2, size // 2)

    return look(0, below)
