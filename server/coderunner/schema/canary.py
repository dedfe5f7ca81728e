"""What the canary's program reports, and what is kept of it from one start of the server to the next."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from coderunner.schema.types import one_of

HELD, BROKEN, UNTRIED, ERROR = OUTCOMES = ("held", "broken", "untried", "error")


class Finding(Struct, frozen=True):
    """What one probe saw: whether the bound that is promised (in words) holds; `error`: the probe failed."""

    promise: str
    outcome: Annotated[str, one_of(OUTCOMES)]
    detail: str


class ReportLine(Struct, frozen=True):
    """A line of the report: a probe's finding; which probe comes next (`trying`, its promise); or, in the
    last line, only how many probes were `done`."""

    trying: str = ""
    probe: str = ""
    promise: str = ""
    outcome: Annotated[str, one_of(OUTCOMES)] = ERROR
    detail: str = ""
    done: int | None = None


class KeptVerdict(Struct, frozen=True):
    """A file of the cache: the findings of a canary for which every promise held, by the names of probes."""

    probes: dict[str, Finding]
