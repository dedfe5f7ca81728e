"""What the programs of a session have used, for quotas and the audit log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from coderunner.schema.messages import Usage
from coderunner.sessions.channel import Channel


@dataclass(slots=True)
class Used:
    """What the programs of a session have used: those that have ended, and output of all. Since the session
    was opened or adopted."""

    programs: int = 0
    cpu_ms: int = 0
    output_bytes: int = 0

    def program_ended(self, channel: Channel, usage: Usage) -> None:
        """Counts a program that has ended, and its processor time."""
        self.programs += 1
        if not channel.adopted:  # its time before the adoption was charged by the server before
            self.cpu_ms += usage.cpu_ms or 0

    def count_output(self, channels: Iterable[Channel]) -> None:
        """Counts the output that has come since the last call."""
        for channel in channels:
            end = channel.cache.end
            self.output_bytes += max(0, end - channel.counted)
            channel.counted = max(channel.counted, end)
