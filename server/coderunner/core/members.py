"""A member of an archive, independent of the archive's format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PIECE = 60_000
"""The most bytes that are read, unpacked and passed on in one step; it bounds memory."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive.

    `path`: as stored in the archive, unchecked. `size`: stated size in bytes, which reading `content`
    verifies. `plain`: False for links, pipes and devices.
    `content`: can be read once, before the next member is requested.
    """

    path: str
    size: int
    folder: bool
    plain: bool
    executable: bool
    content: Iterator[bytes]
