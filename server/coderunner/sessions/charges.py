"""What a session's programs use, charged to the account of whose session it is."""

from __future__ import annotations

from coderunner.core.quotas import CPU, OUTPUT
from coderunner.errors import QuotaExceeded
from coderunner.schema import messages as m
from coderunner.sessions.channels import Channels
from coderunner.sessions.quotas import Account


class Charges:
    """`account`: what the programs are charged to; None: nothing. `graded`: the session is a batch's, whose
    programs are charged, and not ended by a quota."""

    def __init__(self, account: Account | None, channels: Channels) -> None:
        self.account = account
        self.graded = False
        self._channels = channels
        self._charged = (0, 0)  # milliseconds of processor time, bytes of output
        self._before: float | None = None  # processor time of the container, before it was looked at first

    @property
    def background(self) -> bool:
        """Whether programs may go on for long without a client."""
        return self.account is None or self.account.quota.background

    @property
    def limited(self) -> bool:
        """Whether anything that is counted has a limit."""
        return self.account is not None and self.account.limited

    def begin(self, channel: int) -> None:
        """Counts a program that begins. Raises QuotaExceeded."""
        # One that is there is the repetition of a request, which starts nothing.
        if self.account is not None and channel not in self._channels:
            self.account.begin()
            self.tell()

    def charge(self, seconds: float | None = None) -> None:
        """Charges what was used since the last call, and ends the programs if nothing is left.

        `seconds`: processor time of the container since it was made; None if that is not known, and then only
        programs that have ended count.
        """
        self._channels.used.count_output(self._channels.values())
        used, before = self._channels.used, self._charged
        cpu = max(used.cpu_ms, before[0])
        if seconds is not None:
            if self._before is None:
                self._before = seconds - cpu / 1000
            cpu = max(cpu, round((seconds - self._before) * 1000))
        self._charged = (cpu, used.output_bytes)
        if self.account is not None:
            self.account.charge(cpu - before[0], used.output_bytes - before[1])
            reason = self.account.used_up
            if reason is not None and not self.graded:
                self._end_programs(self.account, reason)

    def _end_programs(self, account: Account, reason: str) -> None:
        live = [one for one in self._channels.values() if one.live and one.intent is None]
        for channel in live:
            self._channels.kill(channel, reason)
        if live:
            try:
                account.check(CPU, OUTPUT)
            except QuotaExceeded as error:
                self._channels.attachments.broadcast(m.Notice(error.code, error.message))
            self.tell()

    def tell(self) -> None:
        """Tells who controls the session what is left, where there are quotas."""
        control = self._channels.attachments.control
        if control is not None and self.account is not None and self.account.limited:
            control.post(m.Quotas(self.account.told()))
