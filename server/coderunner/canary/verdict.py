"""What the canary found, and its memory of it from one start of the server to the next."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

HELD, BROKEN, UNTRIED, ERROR = "held", "broken", "untried", "error"
KEPT = 100  # verdicts in the cache; one for each image, engine and set of settings that was in use


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe saw. `outcome` is `held`, `broken`, `untried` or `error`."""

    promise: str
    outcome: str
    detail: str


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
            document = json.loads(self._path(key).read_text("utf-8"))
            findings = {name: Finding(**fields) for name, fields in document["probes"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return Verdict(True, [], findings, cached=True)

    def keep(self, key: str, verdict: Verdict) -> None:
        """Raises OSError."""
        if not verdict.ok:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        draft = path.with_suffix(".new")
        document = {"probes": {name: asdict(finding) for name, finding in verdict.probes.items()}}
        draft.write_text(json.dumps(document, indent=1), "utf-8")
        os.replace(draft, path)
        files = sorted(self._directory.glob("canary-*.json"), key=lambda file: file.stat().st_mtime)
        for file in files[:-KEPT]:
            file.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._directory / f"canary-{key[:32]}.json"
