"""Which terminal modes are in force at a point of the output.

A client that lost part of a terminal's output cannot know that the part switched to the alternate
screen or hid the cursor.  This follows the bytes that fall off the journal, so its state is always the
one at the journal's beginning: exactly what a client needs before it is given the rest.
"""

from __future__ import annotations

import re

# Mode number -> whether it is set in a terminal that was reset.
DEFAULTS = {
    1: False,  # application cursor keys
    7: True,  # wraparound
    9: False,  # mouse: X10
    25: True,  # cursor visible
    45: False,  # reverse wraparound
    47: False,  # alternate screen, the three ways
    1047: False,
    1049: False,
    1000: False,  # mouse: buttons, drag, any motion
    1002: False,
    1003: False,
    1004: False,  # focus events
    1005: False,  # mouse encodings
    1006: False,
    1015: False,
    1016: False,
    2004: False,  # bracketed paste
}
_SEQUENCE = re.compile(rb"\x1b(?:\[\?([0-9;]{1,40})([hl])|\[!p|c|([=>]))")
_LONGEST = 48


class Modes:
    """Feed it bytes in order; ``restore()`` brings a terminal that was reset to the same modes."""

    def __init__(self) -> None:
        self._set: dict[int, bool] = {}
        self._keypad = False
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Bytes of the terminal's output that nobody can be sent any more, in order."""
        data = self._tail + data
        end = 0
        for found in _SEQUENCE.finditer(data):
            end = found.end()
            numbers, how, keypad = found.groups()
            if keypad:
                self._keypad = keypad == b"="
            elif numbers is None:
                self._set.clear()
                self._keypad = False
            else:
                for number in numbers.split(b";"):
                    if number and int(number) in DEFAULTS:
                        self._set[int(number)] = how == b"h"
        # A sequence may be cut by the end of what has fallen off so far.
        cut = data.rfind(b"\x1b", max(end, len(data) - _LONGEST))
        self._tail = data[cut:] if cut >= 0 else b""

    def restore(self) -> str:
        """Escape sequences as text (ASCII)."""
        parts = ["\x1b="] if self._keypad else []
        # The alternate screen first: the others then apply to the screen that is shown.
        for number in sorted(self._set, key=lambda n: (n not in (47, 1047, 1049), n)):
            if self._set[number] != DEFAULTS[number]:
                parts.append(f"\x1b[?{number}{'h' if self._set[number] else 'l'}")
        return "".join(parts)
