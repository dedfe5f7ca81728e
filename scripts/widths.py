"""Writes static/core/widths.js: how many cells a character takes in a terminal.

    .venv/bin/python -m pip install wcwidth && .venv/bin/python scripts/widths.py

What the C library of the containers says counts, as programs inside compute with it (this machine must have
the same: Debian 12); of what it does not know yet, the newest Unicode that the package ``wcwidth`` has.
"""

from __future__ import annotations

import ctypes
import locale
from itertools import groupby
from pathlib import Path

from wcwidth import list_versions, wcwidth  # type: ignore[import-not-found]

TARGET = Path(__file__).parent.parent / "static/core/widths.js"
MOST = 0x110000


def width(point: int, libc: ctypes.CDLL) -> int:
    """0, 1 or 2 cells; controls are no concern of this table."""
    known = libc.wcwidth(point)
    if known >= 0:
        return int(known)
    if point < 0xA0 or 0xD800 <= point <= 0xDFFF:
        return 1
    return max(0, int(wcwidth(chr(point))))


def packed(widths: list[int], wanted: int) -> str:
    """The ranges of one width: distance from the end of the one before, and length, in base 36."""
    words = []
    at = 0
    behind = 0
    for value, run in groupby(widths):
        length = len(list(run))
        if value == wanted:
            words += [base36(at - behind), base36(length)]
            behind = at + length
        at += length
    return " ".join(words)


def base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits or "0"


def main() -> None:
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    libc = ctypes.CDLL(None)
    widths = [width(point, libc) for point in range(MOST)]
    TARGET.write_text(
        "// Made by scripts/widths.py: the widths of characters as the containers' C library (glibc 2.36)\n"
        f"// has them, and as Unicode {list_versions()[-1]} has them where that knows none. "
        "Distance and length of each range, in base 36.\n\n"
        f"export const ZERO = '{packed(widths, 0)}';\n\nexport const WIDE = '{packed(widths, 2)}';\n",
        "utf-8",
    )


if __name__ == "__main__":
    main()
