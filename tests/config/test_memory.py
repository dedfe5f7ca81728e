"""A control group that ends the server before BUFFER_MEMORY is used up is said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from coderunner import config
from coderunner.here import too_little_memory

MIB = 1024**2
ROOT = Path(__file__).parents[2]


def machine(folder: Path, group: str, **limits: str) -> Path:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(group)
    for name, text in limits.items():
        path = folder / "sys/fs/cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True)
        path.write_text(text + "\n")
    return folder


V1 = "9:name=systemd:/a\n4:memory:/a/b\n0::/a/c\n"
V2 = "0::/a/c\n"


@pytest.mark.parametrize(
    ("group", "limits"),
    [
        (V1, {"memory__a__b__memory_DOT_limit_in_bytes": str(900 * MIB)}),
        (V1, {"memory__a__memory_DOT_limit_in_bytes": str(900 * MIB)}),
        (V2, {"a__c__memory_DOT_max": str(900 * MIB)}),
        (V2, {"system_DOT_slice__coderunner_DOT_service__memory_DOT_max": str(900 * MIB)}),
        ("", {"memory__system_DOT_slice__coderunner_DOT_service__memory_DOT_limit_in_bytes": str(900 * MIB)}),
    ],
)
def test_a_buffer_above_what_the_unit_has_is_named(tmp_path, group, limits):
    told = too_little_memory(config.load({}), machine(tmp_path, group, **limits))
    assert told is not None
    assert "BUFFER_MEMORY is 384m" in told
    assert "MemoryMax=977M" in told
    assert "BUFFER_MEMORY=333m or less" in told
    assert too_little_memory(config.load({"BUFFER_MEMORY": "333m"}), tmp_path) is None


@pytest.mark.parametrize(
    ("group", "limits"),
    [
        (V2, {"a__c__memory_DOT_max": "max"}),
        (V1, {"memory__a__b__memory_DOT_limit_in_bytes": str(2**63 - 4096)}),
    ],
)
def test_where_there_is_no_bound_nothing_is_said(tmp_path, group, limits):
    assert too_little_memory(config.load({}), machine(tmp_path, group, **limits)) is None


def test_the_unit_has_as_much_as_the_default_needs(tmp_path):
    line = next(
        line for line in (ROOT / "deploy/coderunner.service").read_text().splitlines() if "MemoryMax=" in line
    )
    assert line == "MemoryMax=1G"
    limits = {"a__c__memory_DOT_max": str(1024 * MIB)}
    assert too_little_memory(config.load({}), machine(tmp_path, V2, **limits)) is None
