from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.core import codec
from coderunner.core.lifecycle import (
    Ended,
    Evidence,
    ExitReason,
    Intent,
    Phase,
    judge,
    qualifies_for_oom,
    read_report,
)
from coderunner.schema import messages as m

OK = Ended(code=0)
KILLED = Ended(signal="KILL")
UNSEEN = Ended()


def test_the_names_are_the_protocols():
    assert tuple(Phase) == m.PHASES
    assert tuple(ExitReason) == m.REASONS
    assert set(Intent) < set(ExitReason)


def test_phases_only_move_forward():
    forward = {(a, b) for a in Phase for b in Phase if a.may_become(b)}
    assert forward == {
        (Phase.COMPILING, Phase.RUNNING), (Phase.COMPILING, Phase.EXITED), (Phase.RUNNING, Phase.EXITED),
    }  # fmt: skip


TABLE = {
    "by itself": (Evidence(main=OK), "exited", ()),
    "by itself, with a failure": (Evidence(main=Ended(code=3)), "exited", ()),
    "after a good compile": (Evidence(compile=OK, main=OK), "exited", ()),
    "forged 137": (Evidence(main=Ended(code=137)), "exited", ()),
    "a crash": (Evidence(main=Ended(signal="SEGV")), "signaled", ()),
    "a kill of its own": (Evidence(main=KILLED), "signaled", ()),
    "compile error": (Evidence(compile=Ended(code=1)), "compile_failed", ()),
    "compiler crash": (Evidence(compile=Ended(signal="SEGV")), "compile_failed", ()),
    "compiler's child out of memory": (Evidence(compile=Ended(code=1), oom_kills=1), "compile_failed",
                                       ("memory",)),
    "compiler out of memory": (Evidence(compile=KILLED, oom_kills=1), "oom", ("memory",)),
    "compiler too slow": (Evidence(compile=KILLED, intent=Intent.WALL_TIMEOUT), "wall_timeout", ()),
    "out of memory": (Evidence(main=KILLED, oom_kills=1), "oom", ("memory",)),
    "child out of memory": (Evidence(main=OK, oom_kills=2), "exited", ("memory",)),
    "child out of memory, shell says 137": (Evidence(main=Ended(code=137), oom_kills=1), "exited",
                                            ("memory",)),
    "child out of memory, then a crash": (Evidence(main=Ended(signal="ABRT"), oom_kills=1), "signaled",
                                          ("memory",)),
    "our kill": (Evidence(main=KILLED, intent=Intent.KILLED), "killed", ()),
    "our kill after an oom of a child": (Evidence(main=KILLED, intent=Intent.KILLED, oom_kills=1), "killed",
                                         ("memory",)),
    "our kill came too late": (Evidence(main=OK, intent=Intent.KILLED), "exited", ()),
    "our kill came after a crash": (Evidence(main=Ended(signal="SEGV"), intent=Intent.CPU_TIMEOUT),
                                    "signaled", ()),
    "our kill came after the compiler's failure": (Evidence(compile=Ended(code=1), intent=Intent.EVICTED),
                                                   "compile_failed", ()),
    "no fork any more": (Evidence(main=OK, fork_refusals=7), "exited", ("pids",)),
    "disk full": (Evidence(main=Ended(code=1), disk_full=True), "exited", ("disk",)),
    "all at once": (Evidence(main=KILLED, oom_kills=1, fork_refusals=1, disk_full=True), "oom",
                    ("memory", "pids", "disk")),
    "nothing known": (Evidence(), "engine_lost", ()),
    "container gone": (Evidence(main=UNSEEN), "engine_lost", ()),
    "container gone, memory": (Evidence(main=UNSEEN, oom_kills=1), "engine_lost", ("memory",)),
    "container removed by us": (Evidence(intent=Intent.SESSION_CLOSED), "session_closed", ()),
    "program after a good compile not seen": (Evidence(compile=OK), "engine_lost", ()),
    "killed between compiler and program": (Evidence(compile=OK, intent=Intent.KILLED), "killed", ()),
    "supervisor killed": (Evidence(main=UNSEEN, supervisor_lost=True), "signaled", ()),
    "supervisor killed by us": (Evidence(main=UNSEEN, supervisor_lost=True, intent=Intent.KILLED), "killed",
                                ()),
}  # fmt: skip


@pytest.mark.parametrize(("evidence", "reason", "hits"), TABLE.values(), ids=TABLE.keys())
def test_table(evidence, reason, hits):
    assert judge(evidence) == (reason, hits, False)


@pytest.mark.parametrize("intent", Intent)
def test_every_intent_is_its_own_reason(intent):
    assert judge(Evidence(main=KILLED, intent=intent)).reason == intent.value


def test_every_reason_can_come_about():
    reasons = {judge(evidence).reason for evidence, _, _ in TABLE.values()}
    assert reasons | {ExitReason(i.value) for i in Intent} == set(ExitReason)


def test_two_channels_that_qualify_both_say_so():
    assert judge(Evidence(main=KILLED, oom_kills=1, others=True)) == ("oom", ("memory",), True)
    assert judge(Evidence(main=OK, oom_kills=1, others=True)) == ("exited", ("memory",), True)
    assert not judge(Evidence(main=OK, others=True)).shared


ends = st.builds(Ended, st.none() | st.integers(0, 255)) | st.builds(
    Ended, st.none(), st.sampled_from(["KILL", "SEGV", "TERM", "RT35"])
)
evidences = st.builds(
    Evidence,
    compile=st.none() | ends, main=st.none() | ends, intent=st.none() | st.sampled_from(Intent),
    oom_kills=st.integers(0, 3), fork_refusals=st.integers(0, 3), disk_full=st.booleans(),
    others=st.booleans(), supervisor_lost=st.booleans(),
)  # fmt: skip


@given(evidences)
def test_nothing_is_said_without_its_evidence(evidence):
    reason, hits, shared = judge(evidence)
    if reason == ExitReason.OOM:
        assert qualifies_for_oom(evidence)
        assert "memory" in hits
    if reason in set(Intent):
        assert reason == evidence.intent
        assert evidence.last.code is None
    if reason == ExitReason.EXITED:
        assert evidence.main is not None
        assert evidence.main.code is not None
    if reason == ExitReason.COMPILE_FAILED:
        assert evidence.main is None
        assert evidence.compile not in (None, OK)
    if reason == ExitReason.ENGINE_LOST:
        assert evidence.intent is None
        assert not evidence.supervisor_lost
    assert ("memory" in hits) == (evidence.oom_kills > 0)
    assert not shared or "memory" in hits


@given(evidences, st.integers(0, 255))
def test_a_program_that_exits_by_itself_is_never_said_to_have_been_killed(evidence, code):
    told = judge(Evidence(main=Ended(code=code), compile=evidence.compile, intent=evidence.intent,
                          oom_kills=evidence.oom_kills, disk_full=evidence.disk_full))  # fmt: skip
    assert told.reason == ExitReason.EXITED


# --- reports ------------------------------------------------------------------------------------------


def end(**values):
    return {"code": 0, "signal": None, "left_behind": 1, "wall_ms": 10, "cpu_ms": 5,
            "memory_peak_bytes": 100} | values  # fmt: skip


def test_a_whole_report():
    report = read_report({
        "compile": end(wall_ms=1000, memory_peak_bytes=900, left_behind=0),
        "main": end(code=None, signal="KILL"),
        "intent": "cpu_timeout", "oom_kills": 2, "fork_refusals": 3, "disk_full": True,
        "supervisor_lost": False,
    }, others=True)  # fmt: skip
    assert report.evidence == Evidence(
        compile=OK, main=KILLED, intent=Intent.CPU_TIMEOUT, oom_kills=2, fork_refusals=3, disk_full=True,
        others=True,
    )  # fmt: skip
    assert report.usage == m.Usage(wall_ms=1010, cpu_ms=10, memory_peak_bytes=900, output_bytes=None)
    assert report.left_behind == 1


def test_the_servers_own_intent_goes_first():
    report = read_report({"main": end(signal="KILL"), "intent": "killed"}, intent=Intent.EVICTED)
    assert report.evidence.intent == Intent.EVICTED


@pytest.mark.parametrize(
    "spoilt",
    [
        {"code": 256}, {"code": -1}, {"code": True}, {"code": "0"}, {"code": 10**30}, {"code": None},
        {"code": 1.0},
    ],
)  # fmt: skip
def test_a_malformed_end_was_not_seen(spoilt):
    assert judge(read_report({"main": end(**spoilt)}).evidence).reason == ExitReason.ENGINE_LOST


@pytest.mark.parametrize("name", ["", "kill", "KILL\n", "\x1b[2J", "X" * 40, 9, None, ["KILL"]])
def test_a_malformed_signal_is_none(name):
    assert read_report({"main": end(signal=name)}).evidence.main == OK


@pytest.mark.parametrize("intent", ["", "oom", "exited", 5, None, ["killed"], {"killed": 1}])
def test_a_malformed_intent_is_none(intent):
    assert read_report({"main": end(signal="KILL"), "intent": intent}).evidence.intent is None


def test_figures_that_are_missing_are_not_known_rather_than_zero():
    report = read_report({"main": {"code": 0, "cpu_ms": -1, "wall_ms": "1"}})
    assert report.usage == m.Usage(None, None, None, None)
    assert report.left_behind == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["compile", "main", "intent", "oom_kills", "code", "signal", "cpu_ms"]), inner,
        max_size=4),
    max_leaves=8,
)  # fmt: skip


@given(json_values)
def test_any_report_is_read_and_judged(raw):
    report = read_report(raw)
    verdict = judge(report.evidence)
    message = m.Exit(1, report.evidence.last.code, report.evidence.last.signal, verdict.reason,
                     verdict.limits_hit, report.left_behind, report.usage, 0, verdict.shared)  # fmt: skip
    assert codec.decode_server_text(codec.encode_server(message)) == message
    assert json.loads(codec.encode_server(message))["reason"] in m.REASONS


def test_thrashing_is_told_as_memory_and_ends_nothing_by_itself():
    evidence = {"main": {"code": 0, "signal": None}, "thrashed": True}
    verdict = judge(read_report(evidence).evidence)
    assert (verdict.reason, verdict.limits_hit) == (ExitReason.EXITED, ("memory",))
