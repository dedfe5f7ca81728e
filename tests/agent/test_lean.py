"""What the agent has in place of modules of the standard library behaves as these, on this Python."""

import contextlib
import fnmatch
import json
import signal
import subprocess
import sys
from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderunner.agent import lean
from coderunner.wire import compact, tuples
from tests.harness import ROOT

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
# What the agent does without: each of these takes part of its start, and memory of each container.
HEAVY = {
    "collections",
    "contextlib",
    "ctypes",
    "enum",
    "functools",
    "json",
    "re",
    "signal",
    "socket",
    "typing",
}


class TestJson:
    @given(VALUES)
    def test_is_written_and_read_as_by_json(self, value):
        text = compact.dumps(value)
        assert text == json.dumps(value, separators=(",", ":")).encode()
        assert compact.loads(text) == value

    @given(st.text(alphabet='{}[]",:0123456789.-+eEtrufalsn \\\n\t', max_size=12) | st.text(max_size=12))
    def test_what_is_no_json_is_refused_as_by_json(self, text):
        try:
            wanted = json.loads(text)
        except ValueError:
            with pytest.raises(ValueError):  # noqa: PT011  of either kind
                compact.loads(text)
        else:
            assert compact.loads(text) == wanted or wanted != wanted

    @pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, [b"bytes"]])
    def test_what_cannot_be_written_is_a_type_error(self, value):
        with pytest.raises(TypeError, match="is not JSON"):
            compact.dumps(value)

    def test_a_text_without_end_is_an_error_and_no_crash(self):
        with pytest.raises((ValueError, RecursionError)):
            compact.loads("[" * 200_000)


@given(st.text(alphabet="ab*?[]-!.py", max_size=8), st.text(alphabet="ab*?[]-!.py", max_size=8))
def test_names_match_patterns_as_in_fnmatch(name, pattern):
    assert lean.matches(name, pattern) == fnmatch.fnmatchcase(name, pattern)


def test_each_signal_has_its_name():
    for number in signal.valid_signals():
        try:
            name = signal.Signals(number).name.removeprefix("SIG")
        except ValueError:
            name = f"RT{number}"
        assert lean.signal_name(number) == name


def test_named_tuples_are_those_of_collections():
    ours, theirs = tuples.namedtuple("One", "first second"), namedtuple("One", "first second")
    for made in (ours(1, second=2), theirs(1, second=2)):
        assert (made.first, made.second, made) == (1, 2, (1, 2))
        with pytest.raises(AttributeError):
            made.first = 3
    for wrong in ((1,), (1, 2, 3)):
        for one in (ours, theirs):
            with pytest.raises(TypeError):
                one(*wrong)


@pytest.mark.parametrize("raised", [None, KeyError("known"), OSError("other"), ZeroDivisionError()])
def test_blocks_end_as_those_of_contextlib(raised):
    def outcome(library):
        seen = []

        @library.contextmanager
        def block(name):
            try:
                yield name
            except KeyError:
                seen.append("caught")
            finally:
                seen.append("left")

        try:
            with library.suppress(OSError), block("named") as name:
                seen.append(name)
                if raised is not None:
                    raise raised
        except BaseException as error:
            seen.append(type(error))
        return seen

    assert outcome(lean) == outcome(contextlib)


def test_an_agent_starts_without_what_it_seldom_needs():
    code = "import sys\nfrom coderunner.agent.main import main\nprint(*sys.modules)"
    path = f"import sys\nsys.path.insert(0, {str(ROOT / 'server')!r})\n"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", path + code], check=True, capture_output=True, timeout=60
    )
    assert not HEAVY & set(loaded.stdout.decode().split())
