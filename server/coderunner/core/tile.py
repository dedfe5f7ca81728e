"""The last lines of a program's output as plain text, for a small picture of its terminal.

No terminal is emulated: 4 KiB take 0.1 ms here and 5.8 ms in pyte, and a wall may show fifty, twice a second.
Colours and titles are left out, a line that was written over shows what was written last, a cleared screen is
empty, and what moves the cursor to another line begins a new one.
"""

from __future__ import annotations

import re

COLUMNS, LINES = 80, 12
LOOKED_AT = 4096  # bytes from the end of the output
# ECMA-48: control strings (OSC, DCS, ...), with an end or cut off; what clears the screen; what moves to
# another line; all other sequences.
_STRINGS = re.compile(r"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?")
_CLEARS = re.compile(r"\x1b(?:c|\[[23]J|\[(?:1;1)?H\x1b\[0?J|\[\?(?:47|1047|1049)[hl])")
_MOVES = re.compile(r"\x1b(?:\[[0-9;]*[ABEFHdf]|[DEM])")
_REST = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[ -/]*[0-~]?)")
_BLANKS = re.compile(r"\n{3,}")


def tile(data: bytes, columns: int = COLUMNS, lines: int = LINES) -> str:
    """Returns the last `lines` lines of output, each cut to `columns` characters.

    Except for line breaks, the result has only printable characters.

    `data`: the end of the output, of which the last LOOKED_AT bytes are used.
    """
    text = data[-LOOKED_AT:].decode("utf-8", "replace")
    text = _STRINGS.sub("", text)
    # What stood before the screen was cleared is not seen any more.
    text = _CLEARS.split(text)[-1]
    text = _REST.sub("", _MOVES.sub("\n", text))
    text = _BLANKS.sub("\n\n", text.replace("\r\n", "\n"))
    shown = [_line(one, columns) for one in text.split("\n")[-lines - 1 :]]
    # The cursor's line behind the last line break is empty while a program waits or has ended.
    if not shown[-1]:
        shown.pop()
    return "\n".join(shown[-lines:])


def _line(text: str, columns: int) -> str:
    # As much as a line of tabs may need; a line of backspaces costs no more than that.
    text = text.rstrip("\r").rpartition("\r")[2][: 4 * columns]
    while "\b" in text:
        before, _, after = text.partition("\b")
        text = before[:-1] + after
    return "".join(c for c in text.expandtabs(8) if c.isprintable())[:columns].rstrip()
