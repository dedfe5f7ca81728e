"""`docs/protocol.md` names every message, field, value and error that the codec knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import fields

from coderunner.core import codec
from coderunner.errors import table as errors
from coderunner.schema import messages as m

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
MESSAGES = TEXT.split("## Messages of the client")[1].split("## How a program ended")[0]
ROWS = {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", MESSAGES, re.MULTILINE)}


def test_the_error_table_is_that_of_the_code():
    assert TEXT.endswith(errors.table_text()), "make it anew with errors.table_text()"


@pytest.mark.parametrize("kind", codec.TYPES, ids=codec.TYPES.values())
def test_each_message_has_its_row_with_its_fields(kind):
    row = ROWS[codec.TYPES[kind]]
    cell = row.split("|")[2]
    listed = re.findall(r"`(\w+)(\??)`", re.sub(r"\([^)]*\)", "", cell))
    expected = [(f.encode_name, "" if f.required else "?") for f in fields(kind)]
    assert listed == expected


def test_no_row_tells_of_a_message_that_is_none():
    assert set(ROWS) == set(codec.TYPES.values())


@pytest.mark.parametrize("kind", [m.ChannelView, m.Usage, m.Expiry, m.Isolation, m.Diagnostic])
def test_the_parts_of_messages_are_named(kind):
    for field in fields(kind):
        assert f"`{field.name.rstrip('_')}`" in TEXT


def test_values_are_named():
    groups = (m.SIGNALS, m.ROLES, m.MODES, m.PHASES, m.NETWORKS, m.REASONS, m.LIMITS_HIT, m.CLOSED_REASONS)
    for value in {value for group in groups for value in group}:
        assert f"`{value}`" in TEXT, value


def test_every_close_code_of_an_error_is_explained():
    for row in errors.table():
        if row.close is not None:
            assert re.search(rf"^\| {row.close} \|", TEXT, re.MULTILINE), row.close
