"""Every rule by which time ends a session, without a clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.sessions.deadlines import WARNING_SECONDS, Deadlines, ResumeTimeouts


def made(**fields):
    values = {"lifetime": 1000.0, "idle": 300.0, "resume": ResumeTimeouts(wanted=60, unwanted=900), **fields}
    return Deadlines(0.0, **values)


class TestEnds:
    def test_idle_means_no_input_and_no_live_program(self):
        one = made()
        one.attach()
        one.touch(100)
        assert one.due(399, busy=False, wanted=False) is None
        assert one.due(400, busy=True, wanted=False) is None
        assert one.due(400, busy=False, wanted=False) == "idle_timeout"

    def test_a_lost_client_is_waited_for_less_while_others_want_the_slot(self):
        one = made(idle=5000.0)
        one.attach()
        one.detach(10)
        assert one.due(69, busy=True, wanted=True) is None
        assert one.due(70, busy=True, wanted=True) == "resume_timeout"
        assert one.due(70, busy=True, wanted=False) is None
        assert one.due(910, busy=True, wanted=False) == "resume_timeout"
        one.attach()
        assert one.due(910, busy=True, wanted=True) is None

    def test_nothing_outlives_the_lifetime(self):
        one = made()
        one.attach()
        one.touch(999)
        assert one.due(1000, busy=True, wanted=False) == "lifetime"


class TestWarnings:
    def test_each_end_is_told_once_and_in_time(self):
        one = made()
        one.attach()
        assert one.warn(239, busy=False) == []
        assert one.warn(240, busy=False) == [("idle_timeout", 60)]
        assert one.warn(241, busy=False) == []
        one.touch(245)
        assert one.warn(300, busy=False) == []
        assert one.warn(500, busy=False) == [("idle_timeout", 45)]
        assert one.warn(940, busy=True) == [("lifetime", 60)]

    @given(
        st.floats(0.1, 2000),
        st.lists(
            st.tuples(st.sampled_from(["touch", "attach", "detach"]), st.floats(0.01, 200)), max_size=20
        ),
        st.booleans(),
    )
    def test_whoever_looks_when_told_never_misses_an_end_by_more_than_a_moment(self, lifetime, steps, busy):
        one = made(lifetime=lifetime)
        now = 0.0
        for what, pause in steps:
            end = now + pause
            while now < end:
                if one.due(now, busy=busy, wanted=False):
                    return
                one.warn(now, busy=busy)
                wait = one.next_look(now, busy=busy, wanted=False)
                assert wait > 0
                late = one.due(now + wait - 0.02, busy=busy, wanted=False)
                assert late is None or wait <= 0.02
                now += wait
            if what == "attach":
                one.attach()
            else:
                getattr(one, what)(now)

    @pytest.mark.parametrize("busy", [True, False])
    def test_the_expiry_counts_down(self, busy):
        one = made()
        expiry = one.expiry(100, busy=busy)
        assert expiry.total_ms == 900_000
        assert expiry.idle_ms == (None if busy else 200_000)
        assert one.expiry(5000, busy=False).total_ms == 0
        assert WARNING_SECONDS == 60
