"""Tests wait for events: no fixed sleep, and no sleep in disguise, but where the time itself is the case."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator

from tests.harness import ROOT

POLLS = "looks again and again for an event, with a bound"
NOTHING = "nothing may happen in it, or what happens costs little"
PACE = "what plays a user or a peer takes its time"
STALL = "a loop that stands still, or deadlines of tenths of seconds, are the case"
LATER = "a deadline must have passed"

LONGEST = "test_what_is_shown_goes_on_for_longer_than_its_address_and_ends_with_it"
TIMES = {
    "agent/test_main.py::test_an_input_without_a_writer_costs_no_time_and_is_heard_again": NOTHING,
    "agent/test_stream.py::test_an_end_of_the_socket_is_no_detach": NOTHING,
    "agent/test_stream.py::test_it_comes_back_soon_and_costs_little_while_nobody_listens": NOTHING,
    "agent/test_stream.py::test_a_server_behind_a_full_stream_is_replaced": PACE,
    "bench/languages.py::measure": PACE,
    "bench/sizes.py::one": PACE,
    "bench/sizes.py::rest": NOTHING,
    "bench/wall.py::_round": PACE,
    "browser/tab.py::_loads": POLLS,
    "browser/tab.py::until": POLLS,
    "browser/tab.py::shows": POLLS,
    "browser/test_artifacts.py::_lived": POLLS,
    f"browser/test_artifacts.py::{LONGEST}": LATER,
    "browser/test_focus.py::test_a_program_that_asks_the_terminal_takes_no_focus": NOTHING,
    "browser/test_large.py::work": PACE,
    "browser/test_large.py::test_a_key_in_a_large_file": NOTHING,
    "browser/test_resume.py::test_a_device_that_goes_offline_asks_at_once": NOTHING,
    "browser/test_resume.py::test_a_long_cut_while_a_session_opens_opens_anew": LATER,
    "browser/test_state.py::test_undo_survives_a_reload_and_a_change_of_language": NOTHING,
    "browser/test_touch.py::drag": PACE,
    "deployment/machine.py::until": POLLS,
    "engine/test_idle.py::test_an_end_of_its_input_costs_no_processor": NOTHING,
    "engine/test_provision.py::hangs": PACE,
    "engine/test_provision.py::test_a_member_of_a_group_ends_in_its_turn_only": NOTHING,
    "engine/test_provision.py::test_an_end_that_is_cancelled_leaves_no_link": PACE,
    "engine/test_strain.py::test_work_in_the_kernels_threads_is_traced_to_its_container": POLLS,
    "facades/test_faults.py::pace": PACE,
    "facades/test_faults.py::receive": PACE,
    "fleet/test_workers.py::test_the_time_counts_from_the_beginning_of_the_work_not_from_waiting": LATER,
    "harness.py::attach": POLLS,
    "harness.py::wait_until": POLLS,
    "harness.py::eventually": POLLS,
    "languages/test_console.py::answers": PACE,
    "languages/test_console.py::test_what_is_typed_between_its_question_and_the_answer_is_read": PACE,
    "nginx/test_strangers.py::_beside": PACE,
    "nginx/test_strangers.py::calm": PACE,
    "platforms/machine.py::appears": POLLS,
    "platforms/machine.py::until": POLLS,
    "platforms/prepare.py::engine_of": POLLS,
    "sessions/fakes.py::until": POLLS,
    "soak/__main__.py::disturb": PACE,
    "soak/visitor.py::open": PACE,
    "soak/visitor.py::until_done": PACE,
    "soak/visitor.py::close": PACE,
    "test_app.py::ping": PACE,
    "web/test_artifacts.py::test_an_address_ends_unless_it_is_kept": POLLS,
    "web/test_flow.py::later": PACE,
    "web/test_keys.py::read_after": LATER,
    "web/test_keys.py::test_a_key_that_ends_while_a_body_arrives_begins_nothing": PACE,
    "web/test_stall.py::test_nobody_is_condemned_for_a_server_that_stood_still": STALL,
    "web/test_strangers.py::test_a_failed_opening_does_not_leave_a_socket_without_a_deadline": LATER,
    "web/test_strangers.py::_calm": PACE,
}
"""Whose time is the case, by test or function. One more needs one of the reasons above."""
FILES = {"sessions/test_late.py": STALL, "test_timing.py": STALL}
CLOCK = re.compile(r"(monotonic|time|perf_counter)\(\) - ")
ENDLESS = 60
"""Sleeps of so many seconds and more are work that does not end, not waits."""


def waits(tree: ast.AST, where: str = "") -> Iterator[tuple[str, str]]:
    """(function, source) of each fixed sleep, and of each condition that only looks at the clock."""
    for node in ast.iter_child_nodes(tree):
        name = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else where
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            seconds = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            endless = isinstance(seconds, int | float) and (seconds == 0 or seconds >= ENDLESS)
            fixed = node.func.attr == "sleep" and not endless
            if fixed or node.func.attr == "wait_for_timeout":
                yield name, ast.unparse(node)
        if isinstance(node, ast.Lambda) and CLOCK.search(ast.unparse(node)):
            yield name, ast.unparse(node)
        yield from waits(node, name)


@functools.cache
def found() -> dict[str, str]:
    here = ROOT / "tests"
    return {
        f"{path.relative_to(here)}::{name}": source
        for path in sorted(here.rglob("*.py"))
        if str(path.relative_to(here)) not in FILES
        for name, source in waits(ast.parse(path.read_text()))
    }


def test_no_test_sleeps():
    new = {place: source for place, source in found().items() if place not in TIMES}
    assert new == {}, "wait for an event (wait_until, eventually), or give the reason in TIMES"


def test_what_is_listed_is_there():
    assert set(TIMES) <= set(found())


def test_a_sleep_is_found():
    disguised = "def test():\n    wait_until(lambda: time.monotonic() - began > 1, 5, 'a second')\n"
    for source, many in ((disguised, 1), ("asyncio.sleep(0.1)", 1), ("asyncio.sleep(0)", 0)):
        assert len(list(waits(ast.parse(source)))) == many, source
