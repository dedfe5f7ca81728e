"""Which cases of a test run in `make test`, whose time is bounded, and which in the long suites of CI."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some_now(cases: Iterable[Any], *now: Any) -> list[Any]:
    """Cases of a parametrised test: ``now`` (indices, or cases) run always, the others in the long suites."""
    listed = list(cases)
    at_once = {listed.index(one) if one in listed else one for one in now}
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)), marks=() if i in at_once else pytest.mark.long
        )
        for i, case in enumerate(listed)
    ]
