"""Whether the engine's disk has room for the images that are not built yet.

What an image needs is learned from those of an earlier build: `languages/sizes.toml`, which
`coderunner languages sizes` prints, has the layers with the languages that share them.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from coderunner.engine.sizes import Step
from coderunner.schema.languages import Layers, Sizes
from coderunner.schema.toml import read_toml

FILE = "sizes.toml"  # in the languages' folder
RESERVE_BYTES = (
    2**30
)  # that a build leaves free: packages while they are unpacked, the engine's and our own files
UNKNOWN_BYTES = (
    800 * 10**6
)  # for a language without an entry: as much as the largest takes besides shared layers
AGENT_BYTES = (
    2 * 10**6
)  # for an image of which only the agent's layer is built anew: as much as the smallest takes


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be built. `missing`: languages without an image. `usable`: those with one, and those of the
    missing that fit, in the order of demand. `needed`: bytes for all that are missing. `free`: bytes on the
    engine's disk, None if it is on another machine. `folder`: where the engine keeps images."""

    missing: tuple[str, ...]
    usable: tuple[str, ...]
    needed: int
    free: int | None
    folder: str

    @property
    def short(self) -> bool:
        """Whether they do not fit."""
        return self.free is not None and bool(self.missing) and self.needed + RESERVE_BYTES > self.free

    def sentence(self, *, choice: bool = True) -> str:
        """What is needed, what there is, and what to do if it is not enough. `choice`: whether these are all
        languages of a server, so that it may be told to have only those that fit."""
        count = len(self.missing)
        words = (
            "1 image is to be built and needs" if count == 1 else f"{count} images are to be built and need"
        )
        about = f"{words} about {_mb(self.needed)}"
        if self.free is None:
            return f"{about}; how much is free on the engine's machine is not known"
        about += f"; {self.folder} has {_mb(self.free)} free"
        if not self.short:
            return about
        more = _mb(self.needed + RESERVE_BYTES - self.free)
        fits = f"set LANGUAGES={','.join(self.usable)}, which fit, or " if choice and self.usable else ""
        return f"{about}, of which {_mb(RESERVE_BYTES)} are to stay free: {fits}free {more}"


def read(folder: Path) -> tuple[Layers, ...]:
    """The layers of the languages' folder; none if it has no such file. Raises ConfigError."""
    with suppress(FileNotFoundError):
        return read_toml(Sizes, (folder / FILE).read_text("utf-8"), FILE).layers
    return ()


def needed(
    layers: Iterable[Layers], wanted: Collection[str], present: Collection[str], cached: Collection[str] = ()
) -> int:
    """Bytes of the layers that these languages need and that no image has, each counted once. `present`,
    `cached`: as for `plan`."""
    known: set[str] = set()
    there = {*present, *cached}
    total = AGENT_BYTES * len(there.intersection(wanted).difference(present))
    for layer in layers:
        known.update(layer.languages)
        if not set(layer.languages).isdisjoint(wanted) and set(layer.languages).isdisjoint(there):
            total += layer.megabytes * 10**6
    return total + UNKNOWN_BYTES * len(set(wanted) - known - there)


def plan(
    layers: Sequence[Layers],
    order: Sequence[str],
    present: Collection[str],
    free: int | None,
    folder: str,
    cached: Collection[str] = (),
) -> Plan:
    """Plans the builds of the languages `order`, the most wanted first.

    `present`: those that have an image. `cached`: any that have one of whatever version, whose layers the
    engine takes again: after an upgrade usually all but the agent's. `free` and `folder`: as in a Plan."""
    missing = tuple(name for name in order if name not in present)
    fit = list(present)
    for name in missing:
        if free is None or needed(layers, [*fit, name], present, cached) + RESERVE_BYTES <= free:
            fit.append(name)
    usable = tuple(name for name in order if name in fit)
    return Plan(missing, usable, needed(layers, missing, present, cached), free, folder)


def refusal(needed: int, free: int | None, folder: str) -> str | None:
    """Why images of `needed` bytes cannot be built beside those that exist; None if they can. `free` and
    `folder`: as in a Plan."""
    if free is None or needed + RESERVE_BYTES <= free:
        return None
    return (
        f"up to {_mb(needed)} are needed beside the old images; {folder} has {_mb(free)} free, of which"
        f" {_mb(RESERVE_BYTES)} are to stay free: free {_mb(needed + RESERVE_BYTES - free)}"
        " (`images prune` removes images that nothing uses)"
    )


def free_of(root: str, kernel: str) -> int | None:
    """Free bytes of the engine's data folder; None if it is not on this machine, as its kernel tells."""
    with suppress(OSError):
        if root and kernel == platform.release():
            return shutil.disk_usage(root).free
    return None


def learned(histories: Mapping[str, Sequence[Step]]) -> str:
    """The text of `sizes.toml`. `histories`: the steps of each image, the oldest first."""
    owners: dict[tuple[Step, ...], list[str]] = {}
    for name in sorted(histories):
        for upto in accumulate(((step,) for step in histories[name]), lambda a, b: a + b):
            owners.setdefault(upto, []).append(name)
    sizes: dict[tuple[str, ...], int] = {}
    for upto, sharing in owners.items():
        sizes[tuple(sharing)] = sizes.get(tuple(sharing), 0) + upto[-1].size
    rows = [((size + 999_999) // 10**6, names) for names, size in sizes.items() if size]
    lines = ["# What the images take on the disk: layers in megabytes, and the languages that share each.",
             "# Written by `coderunner languages sizes`."]  # fmt: skip
    for megabytes, names in sorted(rows, key=lambda row: (-len(row[1]), row[1])):
        listed = ", ".join(f'"{name}"' for name in names)
        lines += ["", "[[layers]]", f"megabytes = {megabytes}", f"languages = [{listed}]"]
    return "\n".join(lines) + "\n"


def _mb(size: int) -> str:
    return f"{max(0, round(size / 1e6)):,} MB"
