"""What images share is what their histories begin with, step by step."""

from __future__ import annotations

import msgspec

from coderunner import declarations
from coderunner.engine.sizes import Share, Step, markdown, shares, total

BASE = [Step("FROM", 1, 100_000_000), Step("LABEL", 2, 0)]
GCC = [*BASE, Step("RUN install-packages gcc", 3, 50_000_000)]
HISTORIES = {
    "bash": BASE,
    "c": [*GCC, Step("COPY agent", 4, 1_000_000)],
    "cpp": [*GCC, Step("RUN install-packages g++", 5, 70_000_000), Step("COPY agent", 6, 1_000_000)],
    "python": [*BASE, Step("RUN install-packages gcc", 9, 50_000_000)],  # made again, so not the same layer
}


def test_shares():
    assert shares(HISTORIES) == {
        "bash": Share(100_000_000, 0, ("c", "cpp", "python")),
        "c": Share(151_000_000, 1_000_000, ("cpp",)),
        "cpp": Share(221_000_000, 71_000_000, ("c",)),
        "python": Share(150_000_000, 50_000_000, ("bash", "c", "cpp")),
    }
    assert shares({"c": HISTORIES["c"]}) == {"c": Share(151_000_000, 151_000_000, ())}


def test_the_total_counts_each_layer_once():
    assert total(HISTORIES) == 100_000_000 + 50_000_000 + 1_000_000 + 71_000_000 + 50_000_000
    assert total({}) == 0


def test_the_table():
    declared = declarations.load(only=HISTORIES).languages
    declared = {**declared, "c": msgspec.structs.replace(declared["c"], version="C99")}
    text = markdown(declared, HISTORIES)
    assert "| C | `c` | C99 | 151 MB | 1 MB | C++ |\n" in text
    assert "| Bash | `bash` | 5.2 | 100 MB | 0 MB | all |\n" in text
    assert text.index("| Bash |") < text.index("| C |") < text.index("| C++ |") < text.index("| Python |")
    assert text.endswith("All 4 together: 272 MB, each layer counted once.\n")
