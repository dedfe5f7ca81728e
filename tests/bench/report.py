"""docs/performance.md: the table of a run, its plots, and what limits each figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bench.__main__ import Row

BEGIN, END = "<!-- made by make bench -->", "<!-- end of what is made -->"
SIZES_BEGIN, SIZES_END = "<!-- made by scripts/bench.sh sizes -->", "<!-- end of the sizes -->"
PROGRAMS_BEGIN, PROGRAMS_END = "<!-- made by scripts/bench.sh programs -->", "<!-- end of the programs -->"
PICTURES = "performance"


@dataclass
class Series:
    """What each of so many costs: (how many, figure) in `unit`."""

    title: str
    unit: str
    points: list[tuple[int, float]] = field(default_factory=list)

    def add(self, count: int, value: float) -> None:
        self.points.append((count, value))


def write(rows: Sequence[Row], machine: str, folder: Path) -> None:
    """The part of the page between BEGIN and END, and the pictures that it shows."""
    (folder / PICTURES).mkdir(exist_ok=True)
    drawn = [_draw(rows, unit, folder / PICTURES) for unit in ("ms", "MB/s")]
    lines = [BEGIN, f"Measured: {machine}.", "", "| what | p50 | p99 | unit | target | ratio |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        ratio, target = row.ratio(rows), "" if row.target is None else f"< {row.target:g}"
        told = "" if ratio is None else f"{ratio:.2f} × {row.peer}"
        lines.append(f"| {row.title} | {row.p50:.2f} | {row.worst:.2f} | {row.unit} | {target} | {told} |")
    lines += ["", *(f"![{name}]({PICTURES}/{name}.svg)\n" for name in drawn), END]
    _put(lines, folder)


def write_sizes(series: Sequence[Series], machine: str, folder: Path) -> None:
    """The part between SIZES_BEGIN and SIZES_END, and its plot."""
    (folder / PICTURES).mkdir(exist_ok=True)
    lines = [SIZES_BEGIN, f"Measured: {machine}.", "", "| each of so many | how many | figure | unit |"]
    lines.append("| --- | --- | --- | --- |")
    for one in series:
        lines += [f"| {one.title} | {count} | {value:.2f} | {one.unit} |" for count, value in one.points]
    lines += ["", f"![sizes]({PICTURES}/{_plot(series, folder / PICTURES)}.svg)\n", SIZES_END]
    _put(lines, folder)


def programs(rows: Sequence[Row], machine: str) -> list[str]:
    """The table of what programs as users get; a rate is to be above its target, a time below."""
    lines = [f"Measured: {machine}.", "", "| what | p50 | p99 | unit | target | ratio |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        ratio, than = row.ratio(rows), "<" if row.unit == "ms" else ">"
        target = "" if row.target is None else f"{than} {row.target:g}"
        told = "" if ratio is None else f"{ratio:.2f} × {row.peer}"
        lines.append(f"| {row.title} | {row.p50:.1f} | {row.worst:.1f} | {row.unit} | {target} | {told} |")
    return lines


def write_programs(rows: Sequence[Row], machine: str, folder: Path) -> None:
    """The part between PROGRAMS_BEGIN and PROGRAMS_END."""
    _put([PROGRAMS_BEGIN, *programs(rows, machine), PROGRAMS_END], folder)


def _put(lines: Sequence[str], folder: Path) -> None:
    """In the place of what is between the first of these lines and the last."""
    page = folder / "performance.md"
    before, _, rest = page.read_text("utf-8").partition(lines[0])
    page.write_text(before + "\n".join(lines) + rest.partition(lines[-1])[2], "utf-8")


def _plot(series: Sequence[Series], folder: Path) -> str:
    """Each series of more than one point, over how many there are; the picture's name."""
    plt = _pyplot()
    shown = [one for one in series if len(one.points) > 1]
    figure, all_axes = plt.subplots(
        len(shown), 1, figsize=(9, 2.2 * len(shown)), layout="constrained", squeeze=False
    )
    for axes, one in zip(all_axes.flat, shown, strict=True):
        axes.plot(*zip(*one.points, strict=True), marker="o")
        axes.set_title(one.title, fontsize="medium")
        axes.set_ylabel(one.unit, fontsize="small")
        axes.set_ylim(bottom=0)
        axes.grid(linewidth=0.3)
    figure.savefig(folder / "sizes.svg", metadata={"Date": None})
    plt.close(figure)
    return "sizes"


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "coderunner"
    from matplotlib import pyplot as plt

    return plt


def _draw(rows: Sequence[Row], unit: str, folder: Path) -> str:
    """Each figure's spread, on a scale of powers of ten; the picture's name."""
    plt = _pyplot()
    shown = [row for row in rows if row.unit == unit][::-1]
    figure, axes = plt.subplots(figsize=(9, 0.6 + 0.32 * len(shown)), layout="constrained")
    axes.boxplot([row.values for row in shown], orientation="horizontal", whis=(1, 99), sym="")
    axes.set_yticklabels([row.title for row in shown])
    axes.set_xscale("log")
    axes.set_xlabel(f"{unit} (boxes: half of the figures; whiskers: 1st to 99th percentile)")
    axes.grid(axis="x", which="both", linewidth=0.3)
    name = {"ms": "times", "MB/s": "rates"}[unit]
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
    return name
