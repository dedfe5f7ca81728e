"""Judge0's multi-file programs (89): an archive with scripts that compile and run it. Without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from coderunner.facades import running
from coderunner.web.keys import Parts

# The first that exists is used, as in Judge0.
COMPILE, RUN = ("compile.sh", "compile"), ("run.sh", "run")


def scripts_of(paths: Iterable[str]) -> tuple[str, str]:
    """Returns the names of the scripts that compile and run these files; the first is "" if there is none."""
    known = set(paths)
    compiles = next((name for name in COMPILE if name in known), "")
    # If there is none, bash reports the missing file, as in Judge0.
    return compiles, next((name for name in RUN if name in known), RUN[0])


def language_of(paths: Iterable[str], parts: Parts, usual: str) -> str:
    """The language in whose image these files are run: the one with the most files, by their extensions.
    `usual`: the language if no extension is known."""
    counts = Counter(PurePosixPath(path).suffix.lower() for path in paths)
    offered = [name for name in parts.catalog.languages if running.offered(parts, name)]
    # With equal numbers, the one with the higher demand.
    offered.sort(key=parts.declared.demand.index)

    def count(name: str) -> int:
        return sum(counts[ending] for ending in parts.catalog.languages[name].extensions)

    best = max(offered, key=count, default=usual)
    return best if best == usual or count(best) or usual not in offered else usual
