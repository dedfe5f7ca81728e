"""Models of the report of the canary (attack probes in a container), and of its cache."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from coderunner.schema.types import one_of

HELD, BROKEN, UNTRIED, ERROR = OUTCOMES = ("held", "broken", "untried", "error")


class Finding(Struct, frozen=True):
    """The result of one probe. `promise`: the tested guarantee, as text. `outcome`: whether it held, was
    `broken`, could not be tried here (`untried`), or the probe itself failed (`error`)."""

    promise: str
    outcome: Annotated[str, one_of(OUTCOMES)]
    detail: str


class ReportLine(Struct, frozen=True):
    """A line of the report: a probe's finding; or `trying`, the promise of the probe that starts now, so
    that a probe that kills the container is known; or, in the last line, the number of probes `done`, which
    shows that the report is complete."""

    # One model for three kinds of lines, as the program that writes them has the standard library only.
    trying: str = ""
    probe: str = ""
    promise: str = ""
    outcome: Annotated[str, one_of(OUTCOMES)] = ERROR
    detail: str = ""
    done: int | None = None


class KeptVerdict(Struct, frozen=True):
    """A file of the cache: the findings by probe name. Only written if every promise held."""

    probes: dict[str, Finding]
