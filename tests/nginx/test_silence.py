"""An idle terminal stays: nothing on the way takes a silence for an end."""

from __future__ import annotations

import pytest

from tests.nginx.silence import SECONDS, Silence

pytestmark = pytest.mark.long


def test_a_session_falls_silent(silence: Silence) -> None:
    """Run before all other tests (see conftest.py)."""
    silence.begun.result(timeout=50)


@pytest.mark.timeout(SECONDS + 60)
def test_it_answers_after_ninety_seconds(silence: Silence) -> None:
    """Run after all other tests: in a run of everything the time has passed long ago."""
    heard = silence.result.result(timeout=SECONDS + 50)
    assert heard.seconds >= SECONDS
    assert heard.said_meanwhile == 0
    assert heard.echoed
