from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from coderunner import declarations
from coderunner.core.limits import NAMES, parse_rules, resolve
from coderunner.errors import BadLimit, ConfigError
from coderunner.schema.limits import OPEN_LIMITS, RUN_LIMITS, Limits, OpenLimits, RunLimits

TEXT = (declarations.FOLDER / "limits.toml").read_text()
RULES = parse_rules(TEXT)


def test_the_declared_defaults():
    defaults = RULES.defaults
    minute, mib = 60_000, 1024 * 1024
    assert (defaults.wall_ms, defaults.cpu_ms) == (10 * minute, minute)
    assert (defaults.output_bytes, defaults.memory_bytes) == (256 * mib, 256 * mib)
    assert (defaults.workspace_bytes, defaults.tmp_bytes, defaults.inodes) == (64 * mib, 16 * mib, 8192)
    assert (defaults.idle_ms, defaults.lifetime_ms) == (15 * minute, 240 * minute)
    assert (defaults.pids, defaults.cpus) == (128, 1.0)


def test_files_in_memory_stay_under_half_of_it():
    assert 2 * (RULES.defaults.workspace_bytes + RULES.defaults.tmp_bytes) <= RULES.defaults.memory_bytes


def test_ceilings_are_of_what_can_be_requested_and_not_below_the_defaults():
    assert set(RULES.ceilings) == {*RUN_LIMITS, *OPEN_LIMITS}
    for name, ceiling in RULES.ceilings.items():
        assert ceiling >= getattr(RULES.defaults, name)


def test_without_language_and_requests_the_defaults_hold():
    assert resolve(RULES.defaults, {}) == RULES.defaults


def test_a_language_goes_before_the_defaults_and_a_request_before_both():
    limits = resolve(RULES.defaults, {"pids": 200, "wall_ms": 5}, {"wall_ms": 4}, RULES.ceilings)
    assert limits == replace(RULES.defaults, pids=200, wall_ms=4)


def test_a_request_reaches_its_ceiling_and_no_further():
    ceiling = RULES.ceilings["wall_ms"]
    assert resolve(RULES.defaults, {}, {"wall_ms": ceiling}, RULES.ceilings).wall_ms == ceiling
    with pytest.raises(BadLimit, match=f"wall_ms may be at most {ceiling}"):
        resolve(RULES.defaults, {}, {"wall_ms": ceiling + 1}, RULES.ceilings)


def test_a_language_above_the_ceiling_lifts_it():
    limits = resolve(RULES.defaults, {"pids": 1000}, {"pids": 1000}, RULES.ceilings)
    assert limits.pids == 1000


def test_a_request_reaches_its_floor_and_no_further():
    floor = RULES.floors["pids"]
    assert RULES.with_requested(RULES.defaults, {"pids": floor}, OpenLimits).pids == floor
    with pytest.raises(BadLimit, match=f"pids must be at least {floor}"):
        RULES.with_requested(RULES.defaults, {"pids": floor - 1}, OpenLimits)


def test_floors_lie_below_the_defaults():
    for name, floor in RULES.floors.items():
        assert floor <= getattr(RULES.defaults, name)


def test_no_request_outlives_the_servers_own_setting():
    rules = RULES.under(memory_bytes=2**28, cpus=0.5, lifetime_ms=600_000, idle_ms=60_000)
    assert (rules.defaults.lifetime_ms, rules.defaults.idle_ms, rules.defaults.cpus) == (600_000, 60_000, 0.5)
    for name in ("lifetime_ms", "idle_ms"):
        assert getattr(rules.with_requested(rules.defaults, {name: 600_000}, OpenLimits), name) == 600_000
        with pytest.raises(BadLimit):
            rules.with_requested(rules.defaults, {name: 600_001}, OpenLimits)


@pytest.mark.parametrize("mib", [32, 64, 100, 256, 1024])
def test_what_is_kept_in_memory_fits_in_half_of_it(mib):
    limits = resolve(replace(RULES.defaults, memory_bytes=mib << 20), {})
    assert 0 < limits.tmp_bytes < limits.workspace_bytes
    assert 2 * (limits.workspace_bytes + limits.tmp_bytes) <= limits.memory_bytes
    assert (limits.workspace_bytes == RULES.defaults.workspace_bytes) == (mib > 64 + 64)


@pytest.mark.parametrize("name", ["cpus", "nofile", "unknown", ""])
def test_what_cannot_be_requested(name):
    with pytest.raises(BadLimit):
        resolve(RULES.defaults, {}, {name: 1}, RULES.ceilings)


def test_a_run_cannot_request_limits_of_the_session():
    with pytest.raises(BadLimit, match="cpu_ms, output_bytes, wall_ms"):
        resolve(RULES.defaults, {}, {"memory_bytes": 1}, RULES.ceilings, kind=RunLimits)


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "1", None, float("nan")])
def test_bad_values(value):
    with pytest.raises(BadLimit):
        resolve(RULES.defaults, {}, {"wall_ms": value}, RULES.ceilings)


@given(st.dictionaries(st.sampled_from(sorted(RUN_LIMITS + OPEN_LIMITS)), st.integers(-5, 2**40)))
def test_nothing_exceeds_its_ceiling(requested):
    try:
        limits = resolve(RULES.defaults, {}, requested, RULES.ceilings)
    except BadLimit:
        return
    for name, ceiling in RULES.ceilings.items():
        assert 0 < getattr(limits, name) <= ceiling
    untouched = {f.name for f in fields(Limits)} - set(requested)
    if "memory_bytes" in requested:
        untouched -= {"workspace_bytes", "tmp_bytes"}
    assert all(getattr(limits, name) == getattr(RULES.defaults, name) for name in untouched)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("pids = 128", "pids = 0", "pids must be a positive whole number"),
        ("pids = 128", "pids = true", "pids must be"),
        ("pids = 128", "pids = 1.5", "pids must be"),
        ("cpus = 1.0", "cpus = nan", "cpus must be a positive number"),
        ("inodes = 8192", "inode = 8192", "inode is no limit"),
        ("inodes = 8192", "", "inodes is missing"),
        ("[ceilings]", "[ceilings]\nnofile = 5", "nofile cannot be requested"),
        ("[floors]", "[floors]\nnofile = 5", "nofile cannot be requested"),
        ("[defaults]", "[defaults", "limits.toml"),
        ("[defaults]", "[[defaults]]", "must be a table"),
    ],
)
def test_a_wrong_file_is_refused_with_its_reason(old, new, problem):
    assert old in TEXT
    with pytest.raises(ConfigError, match=problem.replace("[", r"\[")):
        parse_rules(TEXT.replace(old, new, 1))


def test_the_names_are_the_fields():
    assert tuple(f.name for f in fields(Limits)) == NAMES
