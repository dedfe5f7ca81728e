"""What is made from the models is what they say; and the check of it sees a change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from coderunner.schema import write

ROOT = Path(__file__).parents[2]


def test_all_is_as_the_models_say():
    assert write.main(["--check"], ROOT) == 0, "run scripts/schema.sh"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("static/core/messages.js", "pong: { t: 'number' }", "pong: { t: 'text' }"),
        ("static/core/messages.js", "@property {boolean} retryable", "@property {number} retryable"),
        ("docs/protocol.md", "| `kill` | `channel` |", "| `kill` | `channel`, `how` |"),
        ("server/coderunner/wire/words.py", '"tty", "pipe"', '"pipe", "tty"'),
        ("docs/protocol.md", "Never answered with a `resize`.", "Answered with a `resize`."),
    ],
)
def test_a_change_by_hand_is_noticed_and_mended(tmp_path, capsys, name, old, new):
    for one in write.MADE:
        (tmp_path / one).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / one, tmp_path / one)
    text = (tmp_path / name).read_text()
    assert text.count(old) == 1
    (tmp_path / name).write_text(text.replace(old, new))
    assert write.main(["--check"], tmp_path) == 1
    assert f"{name} is not what the models say; run scripts/schema.sh" in capsys.readouterr().err
    assert write.main([], tmp_path) == 0
    assert (tmp_path / name).read_text() == text
