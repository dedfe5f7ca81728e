"""The outcomes of attacks on sessions in gVisor, where they differ: `programs/gvisor.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files

from coderunner.attack.case import Case
from coderunner.attack.stage import Stage

RUNTIME = "runsc"
"""How the names of gVisor begin, as in `engine.runtimes`."""


def outcomes() -> Mapping[str, tuple[str, ...]]:
    """By the name of a case, the patterns of its outcomes in gVisor."""
    document = tomllib.loads((files("coderunner.attack") / "programs/gvisor.toml").read_text("utf-8"))
    kernel = dict.fromkeys(document["own_kernel"]["cases"], tuple(document["own_kernel"]["outcomes"]))
    return {**kernel, **{name: tuple(patterns) for name, patterns in document["outcomes"].items()}}


async def fitted(cases: Sequence[Case], url: str, bearer: str) -> list[Case]:
    """The cases with the outcomes of the server's runtime. Raises Unexpected if there is no session."""
    async with Stage(url, bearer) as stage, stage.session() as peer:
        opened = peer.opened
    if opened is None or not opened.isolation.runtime.startswith(RUNTIME):
        return list(cases)
    known = outcomes()
    return [replace(case, also=known.get(case.name, ())) for case in cases]
