"""What callers may use, by their roles: checks, sums that are kept over restarts, and what is left.

Callers with a credential are counted by it and never by address, so that a class behind one address
does not share a quota; all others are counted by the networks of the address (`core.networks`).
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from coderunner import declarations
from coderunner.config import Settings
from coderunner.core import quotas as sums
from coderunner.core.networks import networks
from coderunner.core.quotas import CPU, OUTPUT, PERIODS, RUNS, Sums
from coderunner.errors import BadLimit, ConfigError, NotAllowed, QuotaExceeded
from coderunner.places import QUOTAS
from coderunner.schema.limits import Limits
from coderunner.schema.messages import Open, QuotaLeft
from coderunner.schema.quotas import ROLES, Quota, QuotasFile, most
from coderunner.schema.toml import read_toml
from coderunner.store.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_ACCOUNTS = 16384
MAX_TOLD = 600  # sums that an operator is told: three of each caller
NAMES = {
    RUNS: "programs in a minute",
    CPU: "seconds of processor time in a day",
    OUTPUT: "bytes of output in a day",
}
UNITS = {RUNS: 1, CPU: 1000, OUTPUT: 1}  # of what is counted, in one of what is told


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a quota: `of` in `seconds`, which begin anew in `reset` seconds."""

    kind: str
    of: int
    remaining: int
    seconds: int
    reset: int

    @property
    def used_up(self) -> bool:
        """Whether nothing is left."""
        return self.remaining <= 0


class Account:
    """One principal, or one address without a principal. `quota`: of its roles. All its sessions share it."""

    def __init__(
        self, principal: str | None, address: str, quota: Quota, counted: Sums, clock: Callable[[], float]
    ):
        self.quota = quota
        self._principal = principal
        self._clock = clock
        self._sums = counted
        if principal is not None:
            self._subjects: tuple[tuple[str, int], ...] = ((f"principal:{principal}", 1),)
        else:
            self._subjects = tuple((f"address:{key}", allowance) for key, allowance in networks(address))

    def limit(self, kind: str) -> int:
        """How much of a kind it may use in a period; 0 for unlimited. Processor time in milliseconds."""
        quota = self.quota
        return {
            RUNS: quota.runs_per_minute,
            CPU: quota.cpu_seconds_per_day,
            OUTPUT: quota.output_bytes_per_day,
        }[kind] * UNITS[kind]

    @property
    def limited(self) -> bool:
        """Whether anything that is counted has a limit."""
        return any(self.limit(kind) for kind in PERIODS)

    def _remaining(self, kind: str, limit: int) -> int:
        now = self._clock()
        return min(
            limit * allowance - self._sums.amount(subject, kind, now) for subject, allowance in self._subjects
        )

    def left(self) -> tuple[Left, ...]:
        """What is left of each quota that has a limit."""
        now, found = self._clock(), []
        for kind, seconds in PERIODS.items():
            if limit := self.limit(kind):
                unit = UNITS[kind]
                remaining = max(0, self._remaining(kind, limit)) // unit
                reset = math.ceil(sums.left_seconds(kind, now))
                found.append(
                    Left(
                        kind.removesuffix("_ms").removesuffix("_bytes"),
                        limit // unit,
                        remaining,
                        seconds,
                        reset,
                    )
                )
        return tuple(found)

    def told(self) -> tuple[QuotaLeft, ...]:
        """As `left`, for a message to a client."""
        return tuple(
            QuotaLeft(one.kind, one.of, one.remaining, one.seconds, one.reset) for one in self.left()
        )

    def check(self, *kinds: str) -> None:
        """Raises QuotaExceeded if one of these is used up, with the time until it comes back."""
        for kind in kinds:
            limit = self.limit(kind)
            if limit and self._remaining(kind, limit) <= 0:
                wait = sums.left_seconds(kind, self._clock())
                again = datetime.fromtimestamp(self._clock() + wait, UTC)
                whose = "this address has" if self._principal is None else "you have"
                raise QuotaExceeded(
                    f"{whose} used up the quota of {limit // UNITS[kind]} {NAMES[kind]}; it comes back at"
                    f" {again:%H:%M:%S} UTC",
                    retry_after_ms=max(1, math.ceil(wait * 1000)),
                )

    def begin(self) -> None:
        """Counts a program that begins. Raises QuotaExceeded, and then counts nothing."""
        self.check(RUNS, CPU, OUTPUT)
        if self.limit(RUNS):
            self._add(RUNS, 1)

    def check_begin(self, *, background: bool) -> None:
        """Raises QuotaExceeded for work of which nothing could begin now; NotAllowed for work in the
        `background` that the role may not do. Counts nothing."""
        if background and not self.quota.background:
            raise NotAllowed(
                "your role may not run in the background; send the request without Idempotency-Key"
            )
        self.check(RUNS, CPU, OUTPUT)

    def charge(self, cpu_ms: int, output_bytes: int) -> None:
        """Counts what programs have used."""
        for kind, amount in ((CPU, cpu_ms), (OUTPUT, output_bytes)):
            if amount > 0 and self.limit(kind):
                self._add(kind, amount)

    def _add(self, kind: str, amount: int) -> None:
        for subject, _ in self._subjects:
            self._sums.add(subject, kind, amount, self._clock())

    @property
    def used_up(self) -> str | None:
        """The reason of an `exit` for running programs whose quota is used up; None while there is some."""
        for kind, reason in ((CPU, "cpu_timeout"), (OUTPUT, "output_limit")):
            if (limit := self.limit(kind)) and self._remaining(kind, limit) <= 0:
                return reason
        return None

    def check_open(self, request: Open) -> None:
        """Raises NotAllowed, BadLimit or QuotaExceeded for a session that the quotas do not allow."""
        quota = self.quota
        if quota.languages and request.language not in quota.languages:
            raise NotAllowed(f"{request.language} is not among your languages: {', '.join(quota.languages)}")
        if request.network == "group" and not quota.groups:
            raise NotAllowed("your role may not use groups; leave `network` out")
        wanted = request.limits.get("memory_bytes", 0)
        if quota.memory_bytes and wanted > quota.memory_bytes:
            raise BadLimit(f"memory_bytes may be at most {quota.memory_bytes} for your role")
        self.check(CPU, OUTPUT)

    def bounded(self, limits: Limits) -> Limits:
        """The limits of a session, lowered to the quota's memory."""
        most_of = self.quota.memory_bytes
        if not most_of or limits.container_bytes <= most_of:
            return limits
        compiling = limits.compile_memory_bytes
        return replace(
            limits,
            memory_bytes=min(limits.memory_bytes, most_of),
            compile_memory_bytes=None if compiling is None else min(compiling, most_of),
        )


class Quotas:
    """The accounts of all callers. `table`: the quotas of each role. `per_address`, `per_principal`: sessions
    where the table says nothing. `clock`: seconds since 1970."""

    def __init__(
        self,
        table: QuotasFile,
        per_address: int = 0,
        per_principal: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._sessions = {"anonymous": per_address}
        self._per_principal = per_principal
        self._clock = clock
        self._sums = Sums()
        self._accounts: OrderedDict[tuple[str | None, str], Account] = OrderedDict()

    def account(self, principal: str | None, address: str, roles: Collection[str] | None = None) -> Account:
        """The account of a caller. `roles`: None where they are not known, as of a session from before a
        restart: then those that were seen last count, at first those of a `user`."""
        key = (principal, "" if principal is not None else address)
        found = self._accounts.get(key)
        if found is None:
            quota = self._quota(principal, roles or ("user",))
            found = self._accounts[key] = Account(principal, address, quota, self._sums, self._clock)
        elif roles is not None and principal is not None:
            found.quota = self._quota(principal, roles)
        self._accounts.move_to_end(key)
        while len(self._accounts) > MAX_ACCOUNTS:
            self._accounts.popitem(last=False)  # its sums are kept; sessions keep the object
        return found

    def of_role(self, role: str) -> Quota:
        """The quotas of a role, with the sessions that the settings give where its table says nothing."""
        return self._of(role)

    def used(self) -> dict[str, dict[str, int]]:
        """What was counted in the present periods, by subject and kind, of those who were counted last."""
        return self._sums.latest(MAX_TOLD, self._clock())

    def _quota(self, principal: str | None, roles: Collection[str]) -> Quota:
        names = ["anonymous"] if principal is None else [one for one in roles if hasattr(self._table, one)]
        return most([self._of(name) for name in names or ["user"]])

    def _of(self, role: str) -> Quota:
        quota: Quota = getattr(self._table, role)
        if quota.sessions is None:
            return replace(quota, sessions=self._sessions.get(role, self._per_principal))
        return quota

    async def restore(self, store: Store, instance: str) -> None:
        """Reads what the server before has noted. Raises DatabaseUnavailable."""
        now = self._clock()
        since, minute = sums.beginning(CPU, now), sums.beginning(RUNS, now)

        def used(connection: Connection) -> list[tuple[str, str, int, int]]:
            from coderunner.store import records  # in the thread, as it imports SQLAlchemy

            return records.used(connection, instance, since, minute)

        rows = await store.read(used)
        self._sums.restore(rows, self._clock())

    def note(self, store: Store, instance: str) -> None:
        """Has the sums that have changed written."""
        for subject, kind, began, amount in self._sums.changed():
            store.post(
                "usage",
                {
                    "instance": instance[:64],
                    "subject": subject[:280],
                    "kind": kind,
                    "period": began,
                    "amount": amount,
                },
            )


def from_settings(settings: Settings) -> Quotas:
    """The quotas of the settings' file, or of this version in production. Raises ConfigError."""
    given = settings.quotas_file
    table = QuotasFile()
    if given is not None or settings.production:
        file = Path(given) if given is not None else QUOTAS
        try:
            table = read_toml(QuotasFile, file.read_text("utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"QUOTAS_FILE cannot be read: {error}"]) from None
        declared = declarations.names()
        for role in ROLES:
            for name in getattr(table, role).languages:
                if name not in declared:
                    raise ConfigError([f"{file} [{role}]: languages has {name}, which is not a language"])
    return Quotas(table, settings.sessions_per_address, settings.sessions_per_principal)
