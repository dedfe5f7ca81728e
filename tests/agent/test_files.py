"""The agent's hands on the workspace: whatever a program plants there, they stay inside."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coderunner.agent import files, folders
from coderunner.agent.files import FilesError


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    inside = tmp_path / "workspace"
    inside.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    monkeypatch.setattr(files, "WORKSPACE", str(inside))
    return inside


def everything(limit=7):
    found, cursor, calls = [], None, 0
    while True:
        entries, cursor = folders.listing(cursor, limit)
        found += entries
        calls += 1
        if cursor is None:
            return [entry["path"] for entry in found], calls
        assert len(entries) <= limit


def code(call, *words, **more):
    with pytest.raises(FilesError) as caught:
        call(*words, **more)
    return caught.value.code


class TestListing:
    def test_a_folder_comes_before_what_is_in_it(self, workspace):
        for path in ("b/y", "b/x/1", "a", "c.txt", "b.txt"):
            files.write(path, b"1")
        assert everything(1)[0] == ["a", "b", "b/x", "b/x/1", "b/y", "b.txt", "c.txt"]

    def test_ours_links_pipes_and_names_that_are_no_text_are_not_in_it(self, workspace):
        for name in (".build", ".tmp"):
            (workspace / name).mkdir()
            (workspace / name / "x").write_text("")
        (workspace / ".coderunner-incoming-1").write_text("")
        (workspace / "link").symlink_to("/etc")
        os.mkfifo(workspace / "pipe")
        os.mkdir(os.fsencode(workspace) + b"/\xff")
        files.write("seen", b"")
        assert everything()[0] == ["seen"]

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_pieces_of_any_size_are_the_whole(self, workspace, data):
        names = st.lists(st.sampled_from(["a", "b", "a.b", "Z", "ü"]), min_size=1, max_size=4)
        for parts in data.draw(st.lists(names, max_size=12)):
            folder = workspace.joinpath(*(f"{part}-" for part in parts[:-1]))
            folder.mkdir(parents=True, exist_ok=True)
            folder.joinpath(parts[-1]).touch()
        whole = everything(10_000)[0]
        assert everything(data.draw(st.integers(1, 9)))[0] == whole
        assert sorted(whole) == sorted(
            str(path.relative_to(workspace)) for path in workspace.rglob("*") if not path.is_symlink()
        )

    def test_a_thousand_files_take_several_small_calls(self, workspace):
        for number in range(1000):
            (workspace / f"f{number:04}").touch()
        paths, calls = everything(256)
        assert len(paths) == 1000
        assert calls == 4

    def test_nested_without_end_it_ends(self, workspace):
        here = os.open(workspace, os.O_RDONLY)
        for _ in range(600):
            os.mkdir("d", dir_fd=here)
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(here)
        assert len(everything()[0]) == folders.MAX_DEPTH
        before = len(os.listdir("/proc/self/fd"))
        calls = 0
        while folders.remove("d", 100)[1]:
            calls += 1
            assert calls < 30
        assert os.listdir(workspace) == []
        assert len(os.listdir("/proc/self/fd")) == before


class TestLinks:
    @pytest.mark.parametrize("path", ["out/secret", "out/new", "in/out/secret"])
    def test_no_component_is_followed(self, workspace, path):
        (workspace / "in").mkdir()
        for where in (workspace, workspace / "in"):
            (where / "out").symlink_to("../../outside" if where.name == "in" else "../outside")
        files.write("mine", b"1")
        assert code(files.read, path, 0, 10) == "bad_path"
        assert code(files.write, path, b"stolen") == "bad_path"
        assert code(folders.remove, path, 10) == "bad_path"
        assert code(files.rename, path, "mine2") == "bad_path"
        assert code(files.rename, "mine", path) == "bad_path"
        assert code(files.make_folder, path) == "bad_path"
        assert (workspace.parent / "outside" / "secret").read_text() == "secret"
        assert os.listdir(workspace.parent / "outside") == ["secret"]

    def test_a_link_itself_is_never_read_and_always_removed_alone(self, workspace):
        (workspace / "link").symlink_to("../outside/secret")
        (workspace / "folder").symlink_to("../outside")
        assert code(files.read, "link", 0, 10) == "bad_path"
        files.write("link", b"mine")
        assert not (workspace / "link").is_symlink()
        assert folders.remove("folder", 10) == (1, False)
        assert (workspace.parent / "outside" / "secret").read_text() == "secret"

    def test_a_pipe_does_not_hold_a_reader_up(self, workspace):
        os.mkfifo(workspace / "pipe")
        assert code(files.read, "pipe", 0, 10) == "bad_path"

    @pytest.mark.parametrize("path", ["", "..", "a/../b", "/etc/passwd", "a//b", ".", "a\0b"])
    def test_paths_that_lead_elsewhere(self, path):
        for call in (
            lambda: files.read(path, 0, 1),
            lambda: files.write(path, b""),
            lambda: folders.remove(path, 1),
            lambda: files.rename("x", path),
            lambda: files.make_folder(path),
        ):
            assert code(call) in ("bad_path", "no_file")

    def test_a_racer_who_swaps_folder_and_link_gets_nothing_out(self, workspace):
        stop = threading.Event()

        def race():
            while not stop.is_set():
                try:
                    os.rename(workspace / "real", workspace / "aside")
                    os.symlink("../outside", workspace / "real")
                    os.unlink(workspace / "real")
                    os.rename(workspace / "aside", workspace / "real")
                except OSError:
                    pass

        (workspace / "real").mkdir()
        racer = threading.Thread(target=race)
        racer.start()
        try:
            for number in range(300):
                for call in (
                    lambda number=number: files.write(f"real/f{number}", b"stolen"),
                    lambda: files.read("real/secret", 0, 10),
                    lambda: folders.remove("real/secret", 10),
                    lambda number=number: files.make_folder(f"real/d{number}"),
                ):
                    with contextlib.suppress(FilesError):
                        assert call() is None or "secret" not in str(call)
        finally:
            stop.set()
            racer.join()
        assert os.listdir(workspace.parent / "outside") == ["secret"]


class TestUpload:
    def test_nothing_shows_before_the_last_piece(self, workspace):
        files.write("a", b"old")
        uploads = files.Uploads()
        assert uploads.put(1, "a", 0, b"ne", last=False, executable=False) is None
        assert (workspace / "a").read_bytes() == b"old"
        assert everything()[0] == ["a"]
        assert uploads.put(1, "a", 2, b"w!", last=True, executable=True).st_size == 4
        assert (workspace / "a").read_bytes() == b"new!"
        assert os.access(workspace / "a", os.X_OK)

    def test_one_that_is_given_up_leaves_nothing(self, workspace):
        uploads = files.Uploads()
        before = len(os.listdir("/proc/self/fd"))
        for number in range(3):
            uploads.put(number, "a", 0, b"x", last=False, executable=False)
        uploads.drop(0)
        assert code(uploads.put, 1, "a", 9, b"x", last=False, executable=False) == "files_failed"
        uploads.clear()
        assert os.listdir(workspace) == []
        assert len(os.listdir("/proc/self/fd")) == before

    def test_there_is_a_bound(self):
        uploads = files.Uploads()
        for number in range(files.MAX_UPLOADS):
            uploads.put(number, f"f{number}", 0, b"", last=False, executable=False)
        assert code(uploads.put, 99, "x", 0, b"", last=False, executable=False) == "files_busy"
        uploads.clear()

    def test_a_script_keeps_its_permission_when_it_is_edited(self, workspace):
        files.write("run.sh", b"1")
        (workspace / "run.sh").chmod(0o755)
        files.write("run.sh", b"2")
        assert os.access(workspace / "run.sh", os.X_OK)


class TestMoving:
    def test_nothing_is_replaced(self, workspace):
        files.write("a", b"1")
        files.write("b", b"2")
        assert code(files.rename, "a", "b") == "file_exists"
        assert code(files.rename, "c", "d") == "no_file"
        files.rename("a", "new/place/a")
        assert (workspace / "new/place/a").read_bytes() == b"1"
        assert code(files.rename, "new", "new/place/x") == "bad_path"

    def test_a_folder_goes_with_all_in_it_piece_by_piece(self, workspace):
        for number in range(300):
            files.write(f"d/{number % 7}/{number}", b"")
        (workspace / "d" / "out").symlink_to("../../outside")
        calls, more = 0, True
        while more:
            count, more = folders.remove("d", 50)
            assert count <= 51
            calls += 1
        assert calls >= 6
        assert os.listdir(workspace) == []
        assert (workspace.parent / "outside" / "secret").exists()
        assert code(folders.remove, "d", 50) == "no_file"

    def test_a_folder_that_is_there_is_fine_and_a_file_is_not(self):
        files.make_folder("a/b")
        files.make_folder("a/b")
        files.write("f", b"")
        assert code(files.make_folder, "f") == "file_exists"
        assert code(files.make_folder, "f/g") == "bad_path"
        assert code(files.write, "a", b"") == "bad_path"
