"""docs/performance.md: the table of a run, its plots, and what limits each figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.__main__ import Row

BEGIN, END = "<!-- made by make bench -->", "<!-- end of what is made -->"
PICTURES = "performance"


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
    page = folder / "performance.md"
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    page.write_text(before + "\n".join(lines) + rest.partition(END)[2], "utf-8")


def _draw(rows: Sequence[Row], unit: str, folder: Path) -> str:
    """Each figure's spread, on a scale of powers of ten; the picture's name."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "coderunner"
    from matplotlib import pyplot as plt

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
