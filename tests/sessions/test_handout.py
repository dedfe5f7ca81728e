"""Handing out a project to all sessions of a room, and collecting all files as one archive: bounds and
errors."""

from __future__ import annotations

import asyncio
import io
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from coderunner.errors import BadArchive, BadPath, FilesFailed, NoSession, TooManyFiles
from coderunner.schema.answers import FileEntry
from coderunner.sessions import handout
from coderunner.sessions.files import Piece


def archive(files: dict[str, bytes]) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as whole:
        for path, data in files.items():
            whole.writestr(path, data)
    return made


def test_a_project_is_read_within_its_bounds():
    handed = handout.project(archive({"main.py": b"1", "lib/words.py": b""}), "week-3")
    assert {one.path: one.data for one in handed} == {"week-3/main.py": b"1", "week-3/lib/words.py": b""}
    wrong: list[tuple[io.BytesIO, type[Exception]]] = [
        (io.BytesIO(), BadArchive),
        (io.BytesIO(b"PK no archive"), BadArchive),
        (archive({}), BadArchive),
        (archive({"../up": b""}), BadPath),
        (archive({"/etc/passwd": b""}), BadPath),
        (archive({f"{n}": b"" for n in range(300)}), TooManyFiles),
        (archive({"bomb": bytes(handout.MAX_PACKED + 1)}), Exception),
    ]
    for file, error in wrong:
        with pytest.raises(error):
            handout.project(file, "week-3")


def test_folders_are_files_names_whatever_a_user_is_called():
    assert handout.folder_of("Anna Müller", "n1-0123456789abcdef") == "Anna_Müller-89abcdef"
    for name in ("", "..", "../../etc", "a/b\\c\0\n", "x" * 300):
        folder = handout.folder_of(name, "n1-0123456789abcdef")
        assert folder.endswith("-89abcdef")
        assert not set(folder) & set("/\\\0\n")
        assert not folder.startswith(".")
        assert len(folder) < 60


class Workspace:
    """The interface of `Files` that is used; `broken`: paths whose reading fails. `slow`: paths whose reading
    does not end. `asked`: how many were asked for."""

    def __init__(
        self,
        contents: dict[str, bytes],
        broken: tuple[str, ...] = (),
        *,
        over: bool = False,
        slow: tuple[str, ...] = (),
    ) -> None:
        self._contents = contents
        self._broken = broken
        self._over = over
        self._slow = slow
        self.asked = 0

    @asynccontextmanager
    async def request(self, *, archive: bool = False) -> AsyncIterator[None]:
        yield

    async def listing(self) -> AsyncIterator[tuple[list[FileEntry], bool]]:
        if self._over:
            raise NoSession()
        yield [FileEntry("lib", 0, 0, True, False)], False
        yield [FileEntry(path, len(data), 0, False, True) for path, data in self._contents.items()], False

    async def read(self, path: str) -> Piece:
        self.asked += 1
        if path in self._slow:
            await asyncio.Event().wait()
        if path in self._broken:
            raise FilesFailed("input/output error")
        data = self._contents[path]
        return Piece(data[:10], len(data), 1)

    async def pieces(self, path: str, begin: Piece, offset: int, end: int) -> AsyncIterator[bytes]:
        data = self._contents[path]
        for at in range(0, len(data), 10):
            yield data[at : at + 10]
            if path.startswith("changes"):
                return


async def collected(*sources: tuple[str, Workspace]) -> dict[str, bytes]:
    data = b"".join([piece async for piece in handout.collect(sources)])  # type: ignore[arg-type]
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        assert whole.testzip() is None
        return {name: whole.read(name) for name in whole.namelist()}


async def test_what_cannot_be_read_is_named_and_the_rest_is_there(monkeypatch):
    monkeypatch.setattr(handout, "MAX_FILE", 50)
    monkeypatch.setattr(handout, "MAX_EACH", 80)
    monkeypatch.setattr(handout, "MAX_ALL", 120)
    anna = Workspace({"main.py": b"print(1)" * 5, "bad": b"x", "large": b"l" * 51}, ("bad",))
    bert = Workspace({"one": b"1" * 45, "two": b"2" * 45, "three": b"3" * 30, "changes": b"c" * 20})
    carl = Workspace({"four": b"4" * 10})
    found = await collected(("anna", anna), ("bert", bert), ("zoe", Workspace({}, over=True)), ("carl", carl))
    left_out = found.pop(handout.LEFT_OUT).decode().splitlines()
    assert found == {"anna/main.py": b"print(1)" * 5, "bert/one": b"1" * 45, "bert/three": b"3" * 30}
    assert [line.partition(": ")[0] for line in left_out] == [
        "anna/bad", "anna/large", "bert/two", "bert/changes", "zoe", "carl/four",
    ]  # fmt: skip


async def test_of_many_that_are_left_out_the_first_are_named(monkeypatch):
    monkeypatch.setattr(handout, "MAX_TOLD", 3)
    names = [f"{number}{'x' * 200}" for number in range(5000)]
    tracemalloc.start()
    try:
        found = await collected(("anna", Workspace(dict.fromkeys(names, b""), tuple(names))))
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.pop(handout.LEFT_OUT).decode().splitlines() == [
        *(f"anna/{name}: input/output error" for name in names[:3]), "and 4997 more",
    ]  # fmt: skip
    assert found == {}
    # All lines would take 1.5 MB beside the listing, which takes 1.9.
    assert held < 3_000_000


async def test_a_session_that_does_not_answer_is_waited_for_once_and_not_for_each_file(monkeypatch):
    """A teacher would wait for as many times as a user has files, and nobody else could collect meanwhile."""
    monkeypatch.setattr(handout, "EACH_SECONDS", 0.2)
    names = tuple(f"{number}" for number in range(1000))
    anna, bert = Workspace(dict.fromkeys(names, b"x"), slow=names), Workspace({"one": b"1"})
    found = await collected(("anna", anna), ("bert", bert))
    assert anna.asked == 1
    assert found.pop("bert/one") == b"1"
    left_out = found[handout.LEFT_OUT].decode().splitlines()
    assert left_out == [f"anna/{name}: the session did not answer in time" for name in names]
    monkeypatch.setattr(handout, "ALL_SECONDS", 0.2)
    monkeypatch.setattr(handout, "EACH_SECONDS", 30.0)
    many = [Workspace({"one": b"1"}, slow=("one",)) for _ in range(50)]
    found = await collected(*((f"user-{number}", one) for number, one in enumerate(many)))
    assert sum(one.asked for one in many) == 1
    assert len(found[handout.LEFT_OUT].splitlines()) == len(many)


async def test_all_is_all(monkeypatch):
    anna = Workspace({f"{number}.txt": b"a" * number for number in range(30)})
    found = await collected(("anna", anna))
    assert found == {f"anna/{number}.txt": b"a" * number for number in range(30)}
    assert await collected() == {}
