"""Judge0's multi-file programs (89): an archive with scripts that compile and run it. Without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from coderunner.facades import running
from coderunner.web.keys import Parts

# The first that is there is taken, as in Judge0.
COMPILE, RUN = ("compile.sh", "compile"), ("run.sh", "run")


def scripts_of(paths: Iterable[str]) -> tuple[str, str]:
    """The scripts that compile and run a program of these files; "" for the first without one."""
    known = set(paths)
    compiles = next((name for name in COMPILE if name in known), "")
    # Without any, bash says that it finds none, as in Judge0.
    return compiles, next((name for name in RUN if name in known), RUN[0])


def language_of(paths: Iterable[str], parts: Parts, usual: str) -> str:
    """The language in whose image a program of these files is run: that with most files by their extensions.
    `usual`: for files of which no language is known."""
    counts = Counter(PurePosixPath(path).suffix.lower() for path in paths)
    offered = [name for name in parts.catalog.languages if running.offered(parts, name)]
    # Of two with as many files, the one that is wanted more often.
    offered.sort(key=parts.declared.demand.index)

    def count(name: str) -> int:
        return sum(counts[ending] for ending in parts.catalog.languages[name].extensions)

    best = max(offered, key=count, default=usual)
    return best if best == usual or count(best) or usual not in offered else usual
