"""The canary's verdict, and a cache of good verdicts that outlives the server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from coderunner.schema.canary import BROKEN, Finding, KeptVerdict

KEPT = 100  # verdicts in the cache; one for each image, engine and set of settings that was in use


@dataclass(frozen=True, slots=True)
class Verdict:
    """`failures` names each promised bound that does not hold, in words; empty when `ok`."""

    ok: bool
    failures: list[str]
    probes: Mapping[str, Finding]
    cached: bool = False


def verdict_of(differences: list[str], findings: Mapping[str, Finding]) -> Verdict:
    """Judges the read-back's differences and the probes' findings."""
    failures = [f"as made by the engine: {text}" for text in differences]
    failures += [
        f"{name}: promised: {finding.promise}; seen: {finding.detail}"
        for name, finding in findings.items()
        if finding.outcome == BROKEN
    ]
    return Verdict(not failures, failures, findings)


class VerdictCache:
    """Verdicts as JSON files in one directory, which is made when it is needed.

    Only a good verdict is kept: what an administrator mends on the host changes none of the facts that a
    verdict is filed under. A file that cannot be read is no verdict.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, key: str) -> Verdict | None:
        """What was found before for the same facts; None where nothing was, or it cannot be read."""
        try:
            kept = msgspec.json.decode(self._path(key).read_bytes(), type=KeptVerdict)
        except (OSError, ValueError):
            return None
        return Verdict(True, [], kept.probes, cached=True)

    def keep(self, key: str, verdict: Verdict) -> None:
        """Raises OSError."""
        if not verdict.ok:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        draft = path.with_suffix(".new")
        text = msgspec.json.encode(KeptVerdict(dict(verdict.probes)))
        draft.write_bytes(msgspec.json.format(text, indent=1))
        os.replace(draft, path)
        files = sorted(self._directory.glob("canary-*.json"), key=lambda file: file.stat().st_mtime)
        for file in files[:-KEPT]:
            file.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._directory / f"canary-{key[:32]}.json"
