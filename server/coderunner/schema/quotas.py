"""The file with the quotas of each role: `quotas.toml`, or the one that QUOTAS_FILE names."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Struct
from msgspec.structs import fields, replace

from coderunner.schema.types import MAX_OFFSET

Amount = Annotated[int, Meta(ge=0, le=MAX_OFFSET, description="a whole number; 0 for unlimited")]
ROLES = ("anonymous", "user", "teacher", "operator")


class Quota(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one principal, or for `anonymous` one address, may use. 0 is unlimited.

    `sessions`: live and waiting; None: SESSIONS_PER_PRINCIPAL, for `anonymous` SESSIONS_PER_ADDRESS.
    `runs_per_minute`: programs, shells and batches that begin. `cpu_seconds_per_day`, `output_bytes_per_day`:
    of all programs together. `languages`: none for all. `memory_bytes`: of one session. `groups`: whether
    sessions may join a network with others. `background`: whether work may go on when its client has gone.
    """

    unknown_words: ClassVar[str] = "is no quota"

    sessions: Amount | None = None
    runs_per_minute: Amount = 0
    cpu_seconds_per_day: Amount = 0
    output_bytes_per_day: Amount = 0
    languages: tuple[str, ...] = ()
    memory_bytes: Amount = 0
    groups: bool = True
    background: bool = True


class QuotasFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A table for each role. A role without one has no quotas but those of the settings."""

    unknown_words: ClassVar[str] = "is no role"

    anonymous: Quota = Quota()
    user: Quota = Quota()
    teacher: Quota = Quota()
    operator: Quota = Quota()


def most(quotas: list[Quota]) -> Quota:
    """The most generous of several roles' quotas, one by one. `quotas`: not empty."""
    found = quotas[0]
    for other in quotas[1:]:
        changes = {
            one.name: _more(getattr(found, one.name), getattr(other, one.name)) for one in fields(Quota)
        }
        found = replace(found, **changes)
    return found


def _more(one: object, other: object) -> object:
    """The greater of two quotas. For numbers and languages, 0 and an empty list are unlimited; None is the
    bound of the settings, which any number of another role replaces."""
    if isinstance(one, bool):
        return one or other
    if isinstance(one, tuple) and isinstance(other, tuple):
        return () if not one or not other else tuple(dict.fromkeys(one + other))
    if isinstance(one, int) and isinstance(other, int):
        return 0 if not one or not other else max(one, other)
    return one if other is None else other
