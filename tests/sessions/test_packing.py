"""Archives of a workspace, which a real agent reads and writes, in a process without a container."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coderunner.core.archives import Bounds
from coderunner.core.members import PIECE
from coderunner.errors import BadArchive, BadPath, FilesFailed
from coderunner.sessions import packing
from coderunner.sessions.files import Files
from coderunner.sessions.packing import pack, unpack
from tests.sessions.fakes import World
from tests.sessions.real import real_agent

BOUNDS = Bounds(100, 1 << 20, 1 << 22)


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[Files]:
    async with real_agent(tmp_path) as one:
        yield (await World(one).begin()).session.files


async def packed(files: Files, kind: str) -> io.BytesIO:
    return io.BytesIO(b"".join([piece async for piece in pack(files, kind)]))


def fill(workspace: Path) -> None:
    (workspace / "src").mkdir()
    (workspace / "empty").mkdir()
    (workspace / "src/main.py").write_bytes(b"print(1)\n")
    (workspace / "large.bin").write_bytes(bytes(range(256)) * 600)  # more than a piece
    (workspace / "run").write_bytes(b"#!/bin/sh\n")
    (workspace / "run").chmod(0o755)
    (workspace / "link").symlink_to("/etc/passwd")
    os.mkfifo(workspace / "pipe")


CONTENT = {"src/main.py": b"print(1)\n", "large.bin": bytes(range(256)) * 600, "run": b"#!/bin/sh\n"}


class TestOut:
    @pytest.mark.parametrize("kind", ["tar", "tgz"])
    async def test_a_tar_has_files_and_folders_and_neither_links_nor_pipes(self, files, tmp_path, kind):
        fill(tmp_path)
        with tarfile.open(fileobj=await packed(files, kind)) as archive:
            found = {one.name: one for one in archive.getmembers()}
            content = {name: archive.extractfile(name).read() for name in CONTENT}
        assert set(found) == {*CONTENT, "src", "empty"}
        assert content == CONTENT
        assert found["empty"].isdir()
        assert (found["run"].mode, found["src/main.py"].mode) == (0o755, 0o644)
        assert found["run"].mtime == int((tmp_path / "run").stat().st_mtime)

    async def test_so_has_a_zip(self, files, tmp_path):
        fill(tmp_path)
        with zipfile.ZipFile(await packed(files, "zip")) as archive:
            assert archive.testzip() is None
            assert set(archive.namelist()) == {*CONTENT, "src/", "empty/"}
            assert {name: archive.read(name) for name in CONTENT} == CONTENT
            assert stat.S_IMODE(archive.getinfo("run").external_attr >> 16) == 0o755

    @pytest.mark.parametrize("moment", [0, 2**33])
    async def test_a_time_that_a_zip_cannot_have_is_its_earliest(self, files, tmp_path, moment):
        (tmp_path / "old").touch()
        os.utime(tmp_path / "old", (moment, moment))
        with zipfile.ZipFile(await packed(files, "zip")) as archive:
            assert archive.getinfo("old").date_time == (1980, 1, 1, 0, 0, 0)

    @pytest.mark.parametrize("kind", ["tar", "zip"])
    async def test_a_file_that_shrinks_meanwhile_ends_it_with_its_name(self, files, tmp_path, kind):
        (tmp_path / "shrinks").write_bytes(os.urandom(8 * PIECE))
        pieces = pack(files, kind)
        await anext(pieces)
        os.truncate(tmp_path / "shrinks", 10)
        with pytest.raises(FilesFailed, match="'shrinks' changed while it was being packed"):
            async for _ in pieces:
                pass

    async def test_a_file_that_goes_meanwhile_is_left_out(self, files, tmp_path):
        for name in "ab":
            (tmp_path / name).write_bytes(bytes(PIECE))
        pieces = pack(files, "tar")
        begun = await anext(pieces)  # the header of the first
        (tmp_path / "b").unlink()
        whole = begun + b"".join([piece async for piece in pieces])
        with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
            assert archive.getnames() == ["a"]

    async def test_names_that_a_zip_would_keep_in_memory_have_a_bound(self, files, tmp_path, monkeypatch):
        monkeypatch.setattr(packing, "MAX_NAMES", 5)
        for name in ("abc", "def"):
            (tmp_path / name).touch()
        with pytest.raises(FilesFailed, match="ask for a tar"):
            await packed(files, "zip")
        with tarfile.open(fileobj=await packed(files, "tar")) as archive:
            assert archive.getnames() == ["abc", "def"]


def zipped(**content: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name.replace("__", "/"), data)
    return file


class Watched(io.BytesIO):
    """A file that detects reads which do not wait for a turn of the event loop; `stuck` counts these."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads = self.stuck = 0
        self._loop = asyncio.get_running_loop()

    def read(self, size: int | None = -1) -> bytes:
        turned = threading.Event()
        self._loop.call_soon_threadsafe(turned.set)
        self.reads += 1
        # Within the loop's own thread the event cannot be set before this returns.
        if self.stuck == 0 and not turned.wait(5):
            self.stuck += 1
        return super().read(size)


class TestIn:
    @pytest.mark.parametrize("kind", ["tar", "zip", "tgz"])
    async def test_what_was_packed_is_unpacked(self, files, tmp_path, kind):
        fill(tmp_path)
        archive = await packed(files, kind)
        done = await unpack(files, archive, BOUNDS, "copy")
        assert (done.error, done.left_out) == (None, [])
        assert sorted(done.written) == sorted(f"copy/{name}" for name in CONTENT)
        assert {name: (tmp_path / "copy" / name).read_bytes() for name in CONTENT} == CONTENT
        assert os.access(tmp_path / "copy/run", os.X_OK)
        assert (tmp_path / "copy/empty").is_dir()

    async def test_a_bad_archive_writes_nothing(self, files, tmp_path):
        for archive, error in (
            (io.BytesIO(b"no archive at all"), BadArchive),
            (zipped(good=b"1", **{"..__bad": b"2"}), BadPath),
            (io.BytesIO(zipped(good=bytes(5000)).getvalue()[:-30]), BadArchive),
        ):
            with pytest.raises(error):
                await unpack(files, archive, BOUNDS)
        assert os.listdir(tmp_path) == []

    async def test_an_error_on_the_way_says_what_was_written_before_it(self, files, tmp_path):
        (tmp_path / "b").mkdir()  # in a file's place
        done = await unpack(files, zipped(a=b"1", b=b"2", c=b"3"), BOUNDS)
        assert done.written == ["a"]
        assert done.error is not None
        assert "b" in done.error.message
        assert not (tmp_path / "c").exists()

    async def test_the_event_loop_runs_while_an_archive_is_read(self, files, tmp_path):
        archive = Watched(zipped(large=bytes(1 << 20)).getvalue())
        done = await unpack(files, archive, BOUNDS)
        assert done.error is None
        assert archive.reads > 3
        assert archive.stuck == 0, "an archive was read in the event loop"
