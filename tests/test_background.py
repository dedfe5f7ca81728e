"""A server in the background, with the process that waits for it played by the test."""

from __future__ import annotations

import os
import re
import sys

import pytest

from coderunner import app, bars, cli, logs, stopping, takeover


def test_who_waited_for_the_server_may_be_gone(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setattr(os, "pipe", lambda: (reading, writing))
    monkeypatch.setattr(os, "fork", lambda: 0)  # this is the child, without a parent
    monkeypatch.setattr(os, "setsid", lambda: None)
    listens = takeover.in_background()
    assert listens is not None
    listens()


@pytest.fixture
def served(monkeypatch, tmp_path):
    """`served(words, how)` serves in this process, as one in the background, until it ends by `how`: what
    happened, in this order."""
    told: list[str] = []

    async def serve(_settings, announce, lines, **_) -> str:
        told.append(f"bars: {lines is not None}")
        announce("http://127.0.0.1:3000/")
        return how_it_ends[0]

    how_it_ends = [stopping.END]
    monkeypatch.setattr(app, "serve", serve)
    monkeypatch.setattr(logs, "setup", lambda *_, **__: None)  # the other tests' logging stays as it is
    monkeypatch.setattr(logs, "take_all", lambda: None)
    monkeypatch.setattr(takeover, "in_background", lambda: lambda: told.append("listens"))
    monkeypatch.setattr(bars, "made", lambda *_: told.append("draws"))
    monkeypatch.setattr(os, "execv", lambda _program, words: told.append(" ".join(words[1:])))
    monkeypatch.setenv("APP_ENV", "development")
    monkeypatch.chdir(tmp_path)

    def run(words: str, how: str = stopping.END) -> list[str]:
        how_it_ends[0] = how
        monkeypatch.setattr(sys, "argv", ["coderunner", *words.split()])
        cli.main()
        return told

    return run


def test_in_the_background_it_does_not_draw_and_says_how_to_stop_it(served, capsys):
    assert served("serve --background") == ["bars: False", "listens"]
    assert re.search(rf"Stop it with kill -INT {os.getpid()}\.$", capsys.readouterr().out, re.MULTILINE)


def test_a_changed_source_leaves_it_the_same_process(served):
    assert served("serve --replace --background", stopping.RELOAD)[-1] == "-m coderunner serve --replace"
