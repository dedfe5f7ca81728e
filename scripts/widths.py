"""Writes static/core/widths.js: how many cells a character takes in a terminal.

    .venv/bin/python -m pip install wcwidth && .venv/bin/python scripts/widths.py IMAGE

IMAGE is a language's image (`scripts/images.sh list`). What the C library in it says counts, as programs
inside compute with it; of what it does not know yet, the newest Unicode that the package ``wcwidth`` has.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import groupby, pairwise
from pathlib import Path

from wcwidth import list_versions, wcwidth  # type: ignore[import-not-found]

TARGET = Path(__file__).parent.parent / "static/core/widths.js"
MOST = 0x110000
ASK = """
import ctypes, itertools, locale, platform
locale.setlocale(locale.LC_CTYPE, 'C.UTF-8')
wcwidth = ctypes.CDLL(None).wcwidth
print(*platform.libc_ver())
at = 0
for width, run in itertools.groupby(wcwidth(point) for point in range(0x110000)):
    print(at, width)
    at += len(list(run))
"""


def width(point: int, known: int) -> int:
    """0, 1 or 2 cells, where the C library says `known`; controls are no concern of this table."""
    if known >= 0:
        return known
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
    within = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "python3", sys.argv[1]]
    done = subprocess.run([*within, "-c", ASK], check=True, capture_output=True, text=True, timeout=120)
    library, *lines = done.stdout.splitlines()
    runs = [(int(begin), int(known)) for begin, known in (line.split() for line in lines)]
    widths = [
        width(point, known)
        for (begin, known), (end, _) in pairwise([*runs, (MOST, 0)])
        for point in range(begin, end)
    ]
    TARGET.write_text(
        f"// Made by scripts/widths.py: the widths of characters as the containers' C library ({library})\n"
        f"// has them, and as Unicode {list_versions()[-1]} has them where that knows none. "
        "Distance and length of each range, in base 36.\n\n"
        f"export const ZERO = '{packed(widths, 0)}';\n\nexport const WIDE = '{packed(widths, 2)}';\n",
        "utf-8",
    )


if __name__ == "__main__":
    main()
