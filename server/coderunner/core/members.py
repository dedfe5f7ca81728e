"""What an archive holds, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PIECE = 60_000
"""The most that is read, unpacked and handed on at once, in bytes."""


@dataclass(frozen=True, slots=True)
class Member:
    """`path` is as the archive has it, unchecked. `plain` is False for links, pipes and devices."""

    path: str
    size: int
    folder: bool
    plain: bool
    executable: bool
    content: Iterator[bytes]
