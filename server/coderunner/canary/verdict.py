"""The canary's verdict, and a cache of good verdicts on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from coderunner.schema.canary import BROKEN, Finding, KeptVerdict

KEPT = 100  # verdicts in the cache: one for each combination of image, engine and settings


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of the canary. `failures`: a text for each limit that does not hold, empty if `ok`.
    `probes`: the findings by name. `cached`: whether it is from the cache."""

    ok: bool
    failures: list[str]
    probes: Mapping[str, Finding]
    cached: bool = False


def verdict_of(differences: list[str], findings: Mapping[str, Finding]) -> Verdict:
    """Makes the verdict. `differences`: between the requested settings and the container. `findings`: of the
    probes, by name."""
    failures = [f"the engine did not apply a setting: {text}" for text in differences]
    failures += [
        f"{name}: expected: {finding.promise}; found: {finding.detail}"
        for name, finding in findings.items()
        if finding.outcome == BROKEN
    ]
    return Verdict(not failures, failures, findings)


class VerdictCache:
    """Good verdicts as JSON files in `directory`, which is created when needed.

    Failures are not stored: if an administrator fixes the host, none of the facts changes by which a verdict
    is found. A file that cannot be read is ignored.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, key: str) -> Verdict | None:
        """The stored verdict for `key`, a digest of the facts; None if there is none or it cannot be read."""
        try:
            kept = msgspec.json.decode(self._path(key).read_bytes(), type=KeptVerdict)
        except (OSError, ValueError):
            return None
        return Verdict(True, [], kept.probes, cached=True)

    def keep(self, key: str, verdict: Verdict) -> None:
        """Stores a verdict for `key` if it is good, and removes the oldest ones beyond KEPT. Raises
        OSError."""
        if not verdict.ok:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        draft = path.with_suffix(".new")
        text = msgspec.json.encode(KeptVerdict(dict(verdict.probes)))
        draft.write_bytes(msgspec.json.format(text, indent=1))
        os.replace(draft, path)
        # By age: a verdict is written once, and those of removed images are the oldest in time.
        files = sorted(self._directory.glob("canary-*.json"), key=lambda file: file.stat().st_mtime)
        for file in files[:-KEPT]:
            file.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._directory / f"canary-{key[:32]}.json"
