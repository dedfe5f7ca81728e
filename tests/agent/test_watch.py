"""The workspace's watcher: nothing a program does to it is missed for long, and none of it costs much."""

from __future__ import annotations

import errno
import os
import select
import shutil
from types import SimpleNamespace

import pytest

from coderunner.agent import files, folders, watch
from coderunner.agent.ledger import Ledger
from coderunner.agent.watch import Watcher
from coderunner.wire import artifacts


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "WORKSPACE", str(tmp_path))
    return tmp_path


class Clock:
    """Turns of the agent's loop, with time of our own; the kernel's word is waited for."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.now = 100.0
        self.made: dict[str, int] = {}
        self.reads = self.scans = 0

    def turn(self, *, attached: bool = True) -> None:
        for _ in range(100):
            due = self.watcher.tick(self.now, attached=attached)
            self.scans += 1
            if due is None or due > self.now:
                break
        if self.watcher.wants(self.now) and select.select([self.watcher.descriptor], [], [], 0)[0]:
            self.watcher.read(self.now)
            self.reads += 1
        self.made |= self.watcher.pop_made()

    def settle(self, seconds: float = 1.0, **more: bool) -> int:
        """Its revision after some time."""
        until = self.now + seconds
        while self.now < until:
            self.turn(**more)
            self.now += 0.05
        return self.watcher.revision


@pytest.fixture
def clock(workspace):
    watcher = Watcher(100.0)
    yield Clock(watcher)
    os.close(watcher.descriptor)


def test_each_kind_of_change_is_noticed_and_quiet_is_quiet(clock, workspace):
    assert clock.settle() == 0
    changes = (
        lambda: (workspace / "a").write_text("1"),
        lambda: (workspace / "a").write_text("2"),
        lambda: (workspace / "a").rename(workspace / "b"),
        lambda: (workspace / "b").unlink(),
        lambda: (workspace / "d").mkdir(),
        lambda: (workspace / "d/x").write_text(""),
        lambda: (workspace / "d").rename(workspace / "e"),
        lambda: (workspace / "e/y").write_text(""),
        lambda: shutil.rmtree(workspace / "e"),
    )
    before = clock.settle()
    for change in changes:
        change()
        after = clock.settle()
        assert after > before
        assert clock.settle() == after
        before = after


def test_what_is_ours_is_nobodys_change(clock, workspace):
    for name in (".build", ".tmp", ".service", ".coderunner-incoming-1"):
        (workspace / name).mkdir()
        (workspace / name / "x.png").write_text("x")
    assert clock.settle() == 0
    assert clock.made == {}


def test_folders_made_in_a_row_are_all_watched(clock, workspace):
    os.makedirs(workspace / "a/b/c/d")
    (workspace / "a/b/c/d/deep.png").write_bytes(b"1")
    clock.settle()
    assert clock.made == {"a/b/c/d/deep.png": 1}
    (workspace / "a/b/c/d/later.svg").write_bytes(b"12")
    clock.settle()
    assert clock.made == {"a/b/c/d/deep.png": 1, "a/b/c/d/later.svg": 2}


def test_a_thousand_changes_are_few_looks(clock, workspace):
    for number in range(1000):
        (workspace / f"f{number % 20}").write_text(str(number))
        clock.now += 0.001
        clock.turn()
    clock.settle()
    assert 2 <= clock.reads <= 6  # four a second at most
    assert 2 <= clock.watcher.revision <= 6


def test_more_than_the_kernel_keeps_is_looked_for(clock, workspace):
    (workspace / "old.png").write_bytes(b"1")
    clock.settle()
    for number in range(6000):
        (workspace / f"f{number % 50}").write_text("")
        if number == 5000:
            (workspace / "new.png").write_bytes(b"22")
    before = clock.watcher.revision
    assert clock.settle(2) > before
    assert clock.made == {"old.png": 1, "new.png": 2}


def test_an_artifact_is_told_when_it_is_written_to_its_end_and_again_when_it_changes(clock, workspace):
    with (workspace / "plot.png").open("wb", buffering=0) as file:
        file.write(b"half")
        clock.settle()
        assert clock.made == {}
        file.write(b"whole")
    clock.settle()
    assert clock.made == {"plot.png": 9}
    clock.made.clear()
    (workspace / "part").write_bytes(b"123")
    (workspace / "part").rename(workspace / "plot.png")
    clock.settle()
    assert clock.made == {"plot.png": 3}
    clock.made.clear()
    (workspace / "notes.txt").write_bytes(b"1")
    (workspace / "empty.png").write_bytes(b"")
    (workspace / "link.png").symlink_to("plot.png")
    clock.settle()
    assert clock.made == {}


def test_what_we_write_ourselves_is_no_programs(clock, workspace):
    clock.watcher.mark_ours("mine.png", files.write("mine.png", b"1"))
    assert clock.settle() > 0
    assert clock.made == {}


class TestWithoutTheKernel:
    @pytest.fixture
    def clock(self, workspace, monkeypatch):
        class Refusing:
            def __init__(self) -> None:
                raise OSError(errno.EMFILE, "too many")

        monkeypatch.setattr(watch, "Inotify", Refusing)
        return Clock(Watcher(100.0))

    def test_changes_are_found_by_looking(self, clock, workspace):
        clock.settle(6)
        before = clock.watcher.revision
        (workspace / "a.png").write_bytes(b"1")
        assert clock.settle(3) > before
        assert clock.made == {"a.png": 1}

    def test_nobody_attached_nobody_looks(self, clock, workspace):
        clock.settle(6)
        before = clock.watcher.revision
        (workspace / "a.png").write_bytes(b"1")
        assert clock.settle(10, attached=False) == before


def test_a_user_without_watches_left_is_looked_after(workspace, monkeypatch):
    monkeypatch.setattr(watch, "MAX_WATCHES", 3)
    clock = Clock(Watcher(100.0))
    for number in range(6):
        (workspace / f"d{number}").mkdir()
    clock.settle(6)
    before = clock.watcher.revision
    (workspace / "d5/late.png").write_bytes(b"1")
    assert clock.settle(3) > before
    assert clock.made == {"d5/late.png": 1}
    os.close(clock.watcher.descriptor)


def test_looking_through_everything_is_done_in_small_pieces(workspace, monkeypatch):
    for number in range(4000):
        (workspace / f"f{number:04}").touch()
    looked: list[int] = []  # entries, of each call

    def listing(after, limit):
        entries, cursor = folders.listing(after, limit)
        looked.append(len(entries))
        return entries, cursor

    monkeypatch.setattr(watch, "folders", SimpleNamespace(listing=listing, MAX_DEPTH=folders.MAX_DEPTH))
    watcher = Watcher(100.0)
    (workspace / "folder").mkdir()  # there may be files in it before it has a watch
    assert select.select([watcher.descriptor], [], [], 10)[0]
    watcher.read(100.0)
    turns = 0
    while watcher.looking:
        watcher.tick(100.0, attached=True)
        turns += 1
        assert len(looked) <= turns
    assert sum(looked) == 4001
    assert max(looked) <= watch.SCAN_PIECE
    os.close(watcher.descriptor)


class TestLedger:
    def test_there_is_a_bound_that_is_told_once(self):
        ledger = Ledger()
        for number in range(artifacts.MAX_PER_CHANNEL + 10):
            ledger.add(1, f"{number}.png", number)
        ledger.add(1, "3.png", 99)
        told = ledger.next(1000)
        assert len(told) == artifacts.MAX_PER_CHANNEL + 1
        assert (1, {"more": True}) in told
        assert told[-1] == (1, {"path": "3.png", "size": 99})
        assert not ledger
        ledger.repeat()
        assert len(ledger.next(32)) == 32
        assert len(ledger.next(1000)) == artifacts.MAX_PER_CHANNEL + 1 - 32
        ledger.repeat()
        ledger.forget(1)
        assert ledger.next(1000) == []

    @pytest.mark.parametrize(
        ("path", "kind"),
        [("a.png", "image/png"), ("b/c.JPG", "image/jpeg"), ("x.svg", "image/svg+xml"), ("png", None)],
    )
    def test_kinds(self, path, kind):
        assert artifacts.kind(path) == kind
