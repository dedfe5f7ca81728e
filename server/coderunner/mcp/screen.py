"""What a program shows, as text: its terminal as a person would see it, or its output."""

from __future__ import annotations

import pyte
import pyte.modes

HISTORY = 1000  # lines above the screen that are kept
TAIL = 64 * 1024  # bytes of the output of a program without a terminal that are kept


class Screen:
    """The terminal of a channel. `cols`, `rows`: its size."""

    def __init__(self, cols: int, rows: int) -> None:
        self._screen = pyte.HistoryScreen(cols, rows, history=HISTORY, ratio=0.5)
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
