"""Writes static/core/widths.js: how many cells a character takes in a terminal.

    .venv/bin/python -m pip install wcwidth && .venv/bin/python scripts/widths.py

What the C library of the containers (this machine must have the same: Debian 12) says counts, as programs inside
compute with it; of what it does not know yet, the newest Unicode that the package ``wcwidth`` has.
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
        "// Made by scripts/widths.py: the widths of characters as the containers' C library (glibc 2.36) has them, and as\n"
        f"// Unicode {list_versions()[-1]} has them where that knows none. Distance and length of each range, in base 36.\n\n"
        f"const ZERO = '{packed(widths, 0)}';\n\nconst WIDE = '{packed(widths, 2)}';\n"
        + TAIL,
        "utf-8",
    )


TAIL = """
const table = new Uint8Array(0x110000 / 4).fill(0b01010101); // two bits for each code point
for (const [ranges, width] of [[ZERO, 0], [WIDE, 2]]) {
  let at = 0;
  const words = ranges.split(' ');
  for (let word = 0; word < words.length; word += 2) {
    const from = at + Number.parseInt(words[word], 36);
    at = from + Number.parseInt(words[word + 1], 36);
    for (let point = from; point < at; point += 1) table[point >> 2] = (table[point >> 2] & ~(3 << ((point & 3) * 2))) | (width << ((point & 3) * 2));
  }
}

/** @returns {0 | 1 | 2} the cells that a code point takes by itself */
export const widthOf = (point) => (point < 0x7f ? 1 : (table[point >> 2] >> ((point & 3) * 2)) & 3);
"""

if __name__ == "__main__":
    main()
