"""A program's input, given at once or while it runs. No I/O of its own."""

from __future__ import annotations

from coderunner.errors import InputOverflow

# More than the agent's window, for programs that compute before they read.
MAX_WAITING = 1024 * 1024  # bytes of live input that the program has not read


class Typed:
    """Bytes of input with their offsets. `ended`: the input is complete."""

    def __init__(self, data: bytes, *, ended: bool = True) -> None:
        self._data: bytes | bytearray = data if ended else bytearray(data)
        self._start = 0  # the offset of the first byte that is still here
        self.ended = ended

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self._start + len(self._data)

    def append(self, data: bytes) -> None:
        """Adds input. Raises InputOverflow if more than MAX_WAITING bytes wait for the program."""
        if len(self._data) + len(data) > MAX_WAITING:
            raise InputOverflow(
                f"the program has not read {MAX_WAITING} bytes of its input; wait until it does"
            )
        assert isinstance(self._data, bytearray)
        self._data += data

    def part(self, begin: int, size: int) -> bytes:
        """Returns at most `size` bytes from the offset `begin` on. Drops live input before `begin`, as the
        session keeps what the program has not read."""
        if isinstance(self._data, bytearray) and begin > self._start:
            # Cheap: a bytearray drops its beginning without copying the rest.
            del self._data[: begin - self._start]
            self._start = begin
        at = begin - self._start
        return bytes(self._data[at : at + size])
