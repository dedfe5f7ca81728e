"""In which order the agent sends what its programs have printed."""

from __future__ import annotations

from types import SimpleNamespace

from coderunner.agent.programs import Programs
from coderunner.wire import flow


class Channel:
    """Of a program that has printed `size` bytes since the last piece."""

    changed, in_ack_due = False, None

    def __init__(self, number: int, size: int) -> None:
        self.number, self.sent, self._size = number, 0, size
        self.journal = SimpleNamespace(end=0)

    def print(self) -> None:
        self.journal.end += self._size

    def next_output(self, now: float) -> tuple[int, int, bytes] | None:
        size = min(flow.SEND_SIZE, self.journal.end - self.sent)
        self.sent += size
        return (1, self.sent - size, bytes(size)) if size else None


def test_an_echo_is_not_sent_behind_the_flood_of_another_program():
    """It always was where the flood was that of the first of two programs."""
    programs = Programs()
    programs.channels = {number: Channel(number, size) for number, size in ((1, 90_000), (2, 1), (3, 60_000))}
    for _ in range(8):
        for channel in programs.channels.values():
            channel.print()
        sent: list[int] = []
        link = SimpleNamespace(send=lambda kind, payload, *, channel, **_: sent.append(channel))  # noqa: B023
        # As the stream does it: until nothing is left.
        before = -1
        while len(sent) > before:
            before = len(sent)
            programs.fill(link)
        assert sent[0] == 2, "the echo"
        assert {1, 2, 3} <= set(sent[:3]), "one piece of each, in turn"
