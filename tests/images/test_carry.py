"""Images as one archive: written here, gone, read again."""

from __future__ import annotations

import gzip
from collections import namedtuple
from pathlib import Path

import docker
import pytest

from coderunner.engine import carry
from coderunner.engine.carry import CannotCarry
from coderunner.engine.images import ImageBuilder
from coderunner.errors import ImageMissing
from tests.images.conftest import BUILD_SECONDS

pytestmark = [pytest.mark.timeout(BUILD_SECONDS), pytest.mark.long]


async def test_what_was_saved_is_usable_where_it_is_loaded(
    builder: ImageBuilder, sdk: docker.DockerClient, tmp_path: Path
) -> None:
    said: list[str] = []
    archive = tmp_path / "images.tar.gz"
    with pytest.raises(ImageMissing):
        await builder.save(["toy"], archive, said.append)
    reference = await builder.ensure("toy", lambda _line: None)
    size = await builder.save(["toy"], archive, said.append)
    assert size == archive.stat().st_size > 1_000_000
    assert "MB of images, before compression; " in said[0]
    assert "free" in said[0]
    with gzip.open(archive) as packed:
        assert packed.read(2)
    assert not archive.with_name("images.tar.gz.part").exists()
    sdk.images.remove(reference, force=True)
    assert await builder.present(["toy"]) == set()
    said.clear()
    assert await builder.load(archive, said.append) == [reference]
    assert said == [f"{round(size / 1e6)} MB to read", f"Loaded image: {reference}"]
    assert await builder.present(["toy"]) == {"toy"}


async def test_what_is_no_archive_or_has_no_room_is_told(
    builder: ImageBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await builder.ensure("toy", lambda _line: None)
    wrong = tmp_path / "wrong.tar"
    wrong.write_bytes(b"nothing")
    with pytest.raises(CannotCarry, match="no image"):
        await builder.load(wrong, lambda _line: None)
    with pytest.raises(CannotCarry, match="No such file"):
        await builder.load(tmp_path / "none.tar", lambda _line: None)
    with pytest.raises(CannotCarry, match="nowhere: No such file"):
        await builder.save(["toy"], tmp_path / "nowhere/x.tar", lambda _line: None)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(carry.shutil, "disk_usage", lambda _folder: usage(10**9, 10**9, 10**6))
    with pytest.raises(CannotCarry, match="no space for"):
        await builder.save(["toy"], tmp_path / "x.tar", lambda _line: None)
    assert not list(tmp_path.glob("x.tar*"))
