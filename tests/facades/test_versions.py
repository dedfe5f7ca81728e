"""npm's selectors of versions, as Piston's clients write them; and the data of the facades."""

from __future__ import annotations

import re

import pytest

from coderunner import declarations
from coderunner.facades import jobe, judge0_submissions, piston
from coderunner.facades.routes import FACADES
from coderunner.facades.versions import newest
from coderunner.schema.settings import facades as settings

THERE = ("0.0.3", "0.2.3", "0.2.9", "1.2.0", "1.2.3", "2.0.0", "3.9.4", "3.10.0", "3.13.0")


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("*", "3.13.0"), ("", "3.13.0"), ("x", "3.13.0"), ("3", "3.13.0"), ("3.x", "3.13.0"),
        ("3.9", "3.9.4"),
        ("3.10.0", "3.10.0"), ("v3.10.0", "3.10.0"), ("=3.10.0", "3.10.0"), ("^3.9.4", "3.13.0"),
        ("~3.9", "3.9.4"), ("~1.2.1", "1.2.3"), ("^0.2.3", "0.2.9"), ("^0.0.3", "0.0.3"),
        (">=3.9 <3.13", "3.10.0"),
        ("<1", "0.2.9"), ("<=1.2", "1.2.3"), (">3.10", "3.13.0"), ("1.2.0 - 2.0.0", "2.0.0"),
        ("0.x || 1.2.0", "1.2.0"), ("4", None), ("3.11.0", None), ("latest", None), ("3.10.0.0", None),
        (">", None), ("3.10.0;", None), ("1" * 257, None), (" 3.10.0 ", "3.10.0"), (">*", None),
    ],
)  # fmt: skip
def test_selectors(selector: str, found: str | None):
    assert newest(selector, THERE) == found


def test_the_data_name_our_languages_and_their_versions():
    languages = declarations.load().languages
    told = [(one.runs, one.version) for one in (*piston.table().runtimes, *jobe.table().languages)]
    told += [(one.runs, one.name) for one in judge0_submissions.table().languages if not one.project]
    for name, version in told:
        ours = re.findall("[0-9]+(?:[.][0-9]+)*", languages[name].version.replace(".0", "."))
        assert any(one in version for one in ours), (name, version, languages[name].version)


def test_names_and_numbers_are_used_once():
    names = [name for one in piston.table().runtimes for name in (one.language, *one.aliases)]
    assert len(names) == len(set(names))
    numbers = [one.id for one in judge0_submissions.table().languages]
    assert len(numbers) == len(set(numbers))
    assert set(FACADES) == set(settings.FACADES)
