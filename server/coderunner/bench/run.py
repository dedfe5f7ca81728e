"""`coderunner bench`: takes the measurements in rounds, prints a table, and compares with a baseline."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from coderunner.bench.measure import RATE, Figure, client
from coderunner.client.peer import Unexpected
from coderunner.client.visit import Visit
from coderunner.errors import CodeRunnerError

FORMAT = 1  # of a baseline's file
WORSE = 1.5  # ratio to the baseline's median from which on a figure counts as worse; below, it may be noise
FAILED, NOTHING = 1, 2  # exit codes: a figure is worse; nothing could be measured


@dataclass
class Row:
    """A figure's values of all rounds, in its unit."""

    title: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def p99(self) -> float:
        """The 99th percentile in the bad direction: a high time, but a low rate."""
        ordered = sorted(self.values, reverse=self.unit == RATE)
        return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]

    def times(self, before: float) -> float:
        """The factor by which the median is worse than an earlier one; below 1 it is better."""
        return before / self.p50 if self.unit == RATE else self.p50 / before


async def measured(url: str, bearer: str, rounds: int, *, show: bool = True) -> list[Row]:
    """Takes all measurements in so many rounds; returns a row for each figure.

    Each round measures every figure once, so that a disturbance does not fall on a single figure. One more
    round comes first, whose values are dropped. `show`: show a progress bar if standard error is a terminal.
    Raises Unexpected, and aiohttp's errors.
    """
    async with Visit(url, bearer) as visit, client(visit) as one:
        figures = one.figures()
        rows = [Row(figure.title, figure.unit) for figure in figures]
        with _Bar((rounds + 1) * len(figures), show=show) as bar:
            for number in range(rounds + 1):
                for figure, row in zip(figures, rows, strict=True):
                    values = await _one(figure, bar)
                    if number:
                        row.values += values
        return rows


async def _one(figure: Figure, bar: _Bar) -> list[float]:
    """Takes one measurement, and shows it in the progress bar."""
    bar.says(figure.title)
    values = await figure.measure()
    bar.step()
    return values


class _Bar:
    """A progress bar of tqdm, if that is installed (the extra `bench`) and standard error is a terminal."""

    def __init__(self, steps: int, *, show: bool) -> None:
        self._bar: Any = None
        if show and sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=steps, leave=False, unit="figure", dynamic_ncols=True)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def says(self, text: str) -> None:
        """Shows what is being measured."""
        if self._bar is not None:
            self._bar.set_description_str(text)

    def step(self) -> None:
        """Advances the bar by one measurement."""
        if self._bar is not None:
            self._bar.update()


# --- a baseline -------------------------------------------------------------------------------------------


def saved(rows: Sequence[Row], url: str) -> str:
    """The text of a baseline's file. `url`: where the figures come from, for the reader."""
    found = {row.title: {"unit": row.unit, "p50": row.p50, "p99": row.p99} for row in rows}
    return json.dumps({"format": FORMAT, "url": url, "figures": found}, indent=2, ensure_ascii=False) + "\n"


def baseline(path: Path) -> dict[str, float]:
    """Reads a baseline's file; returns the medians by the figures' titles. Raises CodeRunnerError."""
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["format"] != FORMAT:
            raise CodeRunnerError(f"{path} is of another version of `coderunner bench`: save one anew")
        medians = {title: float(one["p50"]) for title, one in document["figures"].items()}
    except OSError as error:
        raise CodeRunnerError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CodeRunnerError(
            f"{path} is not a baseline: `coderunner bench --save FILE` writes one"
        ) from None
    # Ratios are computed with them.
    if not all(0 < median < float("inf") for median in medians.values()):
        raise CodeRunnerError(f"{path} is not a baseline: its medians are not above 0")
    return medians


# --- the command ------------------------------------------------------------------------------------------


def table(rows: Sequence[Row], before: Mapping[str, float]) -> list[str]:
    """The table's lines. Figures that are worse than `before` (medians by title) are marked with `!`."""
    head = f"  {'':<42}{'p50':>10}{'p99':>10}  {'unit':<6}" + (
        f"{'before':>10}{'worse by':>10}" if before else ""
    )
    lines = [head]
    for row in rows:
        line = f"{row.title:<42}{row.p50:>10.2f}{row.p99:>10.2f}  {row.unit:<6}"
        if row.title in before:
            line += f"{before[row.title]:>10.2f}{row.times(before[row.title]):>8.2f} x"
        lines.append(("! " if row in worse(rows, before) else "  ") + line.rstrip())
    return lines


def worse(rows: Sequence[Row], before: Mapping[str, float]) -> list[Row]:
    """The figures whose median is at least WORSE times as bad as before."""
    return [row for row in rows if row.title in before and row.times(before[row.title]) >= WORSE]


def main(url: str, bearer: str, rounds: int, save: Path | None, compare: Path | None) -> int:
    """Runs the command. Returns 0, FAILED if a figure is worse than the baseline's,
    NOTHING if none could be measured.

    Raises CodeRunnerError if a baseline cannot be read or written.
    """
    before = baseline(compare) if compare is not None else {}
    try:
        rows = asyncio.run(measured(url, bearer, rounds))
    except (Unexpected, OSError, aiohttp.ClientError) as error:
        print(f"coderunner bench: {url} cannot be measured: {str(error) or type(error).__name__}")
        return NOTHING
    print("\n".join(table(rows, before)))
    if save is not None:
        try:
            save.write_text(saved(rows, url), "utf-8")
        except OSError as error:
            raise CodeRunnerError(f"{save} cannot be written: {error.strerror}") from None
    slower = worse(rows, before)
    for row in slower:
        print(f"worse than before: {row.title}, {row.times(before[row.title]):.2f} times")
    return FAILED if slower else 0
