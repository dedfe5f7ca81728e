from __future__ import annotations

import re

from coderunner import errors
from coderunner.errors import table


def test_codes_are_unique_and_plain():
    codes = [kind.code for kind in table.leaves()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


def test_every_row_says_what_it_means():
    for row in table.table():
        assert row.meaning.endswith("."), row.code
        assert row.close is None or row.close in (1009, 1011, 4401, 4403, 4404, 4408, 4409, 4429, 4503)


def test_errors_of_the_settings_never_reach_a_client():
    assert "config_error" not in {row.code for row in table.table()}


def test_a_message_defaults_to_the_meaning():
    assert errors.QueueFull().message == "All slots are taken, and so are all places in the queue."
    assert str(errors.QueueFull("no")) == "no"


def test_what_may_be_tried_again_is_told():
    retryable = {row.code for row in table.table() if row.retryable}
    assert {"queue_full", "queue_timeout", "draining", "input_gap", "rate_limited"} <= retryable
    assert not {"unauthenticated", "no_session", "superseded", "language_failed", "bad_path"} & retryable


def test_a_config_error_lists_all_problems():
    error = errors.ConfigError(["one", "two"])
    assert error.problems == ["one", "two"]
    assert "one" in str(error)
    assert "two" in str(error)
