"""What a program shows, as text: its terminal as a person would see it, or its output."""

from __future__ import annotations

import unicodedata
from typing import Any

import pyte
import pyte.modes

HISTORY = 1000  # lines above the screen that are kept
TAIL = 64 * 1024  # bytes of the output of a program without a terminal that are kept
MAX_MARKS = 16  # combining characters that one output adds to a cell
# A reversed screen, 12 ms each, and one of 132 columns, 3 ms; common terminals ignore the latter as well.
LEFT_OUT = (pyte.modes.DECSCNM, pyte.modes.DECCOLM)


class _Emulator(pyte.HistoryScreen):
    """pyte's, without what costs seconds for a few bytes: measured on a screen of 120 by 50."""

    def draw(self, data: str) -> None:
        """Draws text. Of many combining characters in one cell, the first ones."""
        # pyte normalizes the whole cell for each of them: 3.6 s for 16,000, and hours for half a million.
        super().draw(data if data.isascii() else self._thinned(data))

    def alignment_display(self) -> None:
        """Does nothing: `ESC # 8` fills the screen with a test pattern, and each costs 9 ms."""

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        """Sets modes, but not those of LEFT_OUT."""
        super().set_mode(*_cheap(modes, **kwargs), **kwargs)

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        """As `set_mode`."""
        super().reset_mode(*_cheap(modes, **kwargs), **kwargs)

    def _thinned(self, data: str) -> str:
        # The cell that takes a mark: at the beginning of a line it is the last one of the line before.
        y, x = (self.cursor.y, self.cursor.x) if self.cursor.x else (self.cursor.y - 1, self.columns)
        before = self.buffer[y][x - 1].data if y >= 0 else ""
        # A cell that an earlier output has filled takes none.
        marks, kept = max(0, len(before) - 1), []
        for char in data:
            marks = marks + 1 if unicodedata.combining(char) else 0
            if marks <= MAX_MARKS:
                kept.append(char)
        return "".join(kept)


def _cheap(modes: tuple[int, ...], *, private: bool = False) -> list[int]:
    # pyte keeps private modes shifted, so one that is not private can be the same number.
    return [mode for mode in modes if (mode << 5 if private else mode) not in LEFT_OUT]


class Screen:
    """The terminal of a channel. `cols`, `rows`: its size."""

    def __init__(self, cols: int, rows: int) -> None:
        self._screen = _Emulator(cols, rows, history=HISTORY, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)

    def feed(self, data: bytes) -> None:
        """The program's next output. Sequences that the emulator does not know are skipped."""
        try:
            self._stream.feed(data)
        except Exception:  # a program may send anything, and the emulator's handlers raise what they like
            self._stream = pyte.ByteStream(self._screen)

    def resize(self, cols: int, rows: int) -> None:
        """The terminal has another size."""
        self._screen.resize(rows, cols)

    def reset(self) -> None:
        """Output was lost: the screen is empty until the program paints it again."""
        self._screen.reset()

    def text(self, above: int = 0) -> str:
        """The lines of the screen without blanks at their ends. `above`: lines of the history before them."""
        told = [_line(line, self._screen.columns) for line in list(self._screen.history.top)[-above:]]
        told = told if above else []
        told += [line.rstrip() for line in self._screen.display]
        return "\n".join(told).rstrip("\n")

    @property
    def cursor(self) -> tuple[int, int]:
        """(line, column) of the cursor, from 1."""
        return self._screen.cursor.y + 1, self._screen.cursor.x + 1


def _line(line: dict[int, pyte.screens.Char], columns: int) -> str:
    return "".join(line[column].data for column in range(columns)).rstrip()


class Output:
    """The output of a program on pipes: its last TAIL bytes."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.dropped = 0  # bytes before those that are kept

    def feed(self, data: bytes) -> None:
        """The program's next output."""
        self._data += data
        excess = len(self._data) - TAIL
        if excess > 0:
            del self._data[:excess]
            self.dropped += excess

    def text(self, above: int = 0) -> str:
        """The output; what does not belong to UTF-8 is replaced."""
        before = f"[{self.dropped} bytes before this are not kept]\n" if self.dropped else ""
        return before + self._data.decode(errors="replace")

    def resize(self, cols: int, rows: int) -> None:
        """It has no size."""

    def reset(self) -> None:
        """Nothing is lost of a program on pipes."""
