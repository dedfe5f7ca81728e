"""The terminal modes in force at a point of the output.

A client that lost part of a terminal's output cannot know that this part switched to the alternate screen or
hid the cursor.  This module follows the bytes that are dropped from the journal, so its state is that at the
journal's beginning, which a client has to restore before it is sent the rest.
"""

from __future__ import annotations

# DEC private mode -> whether it is set after a reset of the terminal.
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
_MAX_SEQUENCE = 48  # bytes


class Modes:
    """Follows a terminal's output; ``restore`` gives what sets a reset terminal to the same modes."""

    def __init__(self) -> None:
        self._set: dict[int, bool] = {}
        self._keypad = False
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """The next bytes of output, in order, complete sequences or not."""
        from . import patterns  # see there why only here

        data = self._tail + data
        end = 0
        for found in patterns.SEQUENCE.finditer(data):
            end = found.end()
            numbers, how, keypad = found.groups()
            if keypad:
                self._keypad = keypad == b"="
            elif numbers is None:  # a reset
                self._set.clear()
                self._keypad = False
            else:
                for number in numbers.split(b";"):
                    if number and int(number) in DEFAULTS:
                        self._set[int(number)] = how == b"h"
        # A sequence may continue in the bytes that are dropped next.
        cut = data.rfind(b"\x1b", max(end, len(data) - _MAX_SEQUENCE))
        self._tail = data[cut:] if cut >= 0 else b""

    def restore(self) -> str:
        """Escape sequences, as ASCII text, that set a reset terminal to the modes in force."""
        parts = ["\x1b="] if self._keypad else []
        # The alternate screen comes first: the other modes then apply to the screen that is shown.
        for number in sorted(self._set, key=lambda n: (n not in (47, 1047, 1049), n)):
            if self._set[number] != DEFAULTS[number]:
                parts.append(f"\x1b[?{number}{'h' if self._set[number] else 'l'}")
        return "".join(parts)
