"""All cases of the attack suite, in the order in which they are carried out."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from coderunner.attack import programs
from coderunner.attack.case import Case
from coderunner.attack.clients import (
    accounts,
    addresses,
    agents,
    artifacts,
    batches,
    credentials,
    crowds,
    downloads,
    facades,
    files,
    flow,
    frames,
    groups,
    handshake,
    imitations,
    messages,
    neighbours,
    pages,
    phases,
    requests,
    roles,
    rooms,
    sessions,
    strangers,
    streams,
    tokens,
    workspace,
)

# In the order of execution. The modules that load the server most come last: crowds, downloads, strangers.
MODULES = (
    handshake,
    frames,
    messages,
    files,
    workspace,
    addresses,
    artifacts,
    batches,
    requests,
    facades,
    agents,
    credentials,
    rooms,
    roles,
    tokens,
    pages,
    accounts,
    sessions,
    flow,
    imitations,
    streams,
    phases,
    neighbours,
    groups,
    crowds,
    downloads,
    strangers,
)


def cases(patterns: Sequence[str] = ()) -> list[Case]:
    """The cases whose name or group matches one of the patterns (such as `fork*`); all if there are none."""
    found = [*programs.load(), *(case for module in MODULES for case in module.GROUP.cases)]
    if not patterns:
        return found
    return [one for one in found if any(_fits(one, pattern) for pattern in patterns)]


def _fits(case: Case, pattern: str) -> bool:
    return fnmatch.fnmatchcase(case.name, pattern) or fnmatch.fnmatchcase(case.group, pattern)
