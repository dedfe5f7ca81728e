"""What moves in Debian's security archive renews the images that have it, and no others.

The archive is one of our own, served on the bridge of the engine, with a package that has two versions.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import ipaddress
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from coderunner.engine import room
from coderunner.engine.building import BASE_LABEL, BUILT_LABEL, BuildFailed
from coderunner.engine.images import ImageBuilder
from tests.images.conftest import BUILD_SECONDS, write_toy

pytestmark = [pytest.mark.long, pytest.mark.timeout(BUILD_SECONDS)]


class Archive:
    """A flat archive of packages whose only content is a file that says their version."""

    def __init__(self, folder: Path, sdk: docker.DockerClient, tool: str) -> None:
        self._folder = folder
        self._sdk = sdk
        self._tool = tool
        self._rows: dict[str, str] = {}
        self.url = ""

    def release(self, name: str, version: str) -> None:
        """The package's newest version is this one now."""
        script = (
            f"mkdir -p /made/DEBIAN /made/opt && echo {version} >/made/opt/{name} &&"
            f" printf 'Package: {name}\\nVersion: {version}\\nArchitecture: all\\nMaintainer: nobody\\n"
            f"Description: a test\\n' >/made/DEBIAN/control &&"
            " dpkg-deb --build /made /made.deb >/dev/null && base64 /made.deb"
        )
        data = base64.b64decode(
            self._sdk.containers.run(
                self._tool, ["sh", "-c", script], user="0", network_mode="none", remove=True
            )
        )
        file = f"{name}_{version}_all.deb"
        (self._folder / file).write_bytes(data)
        self._rows[name] = (
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\n"
            f"Description: a test\n"
            f"Filename: ./{file}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
        packages = "\n".join(self._rows.values())
        (self._folder / "Packages").write_text(packages)
        digest = hashlib.sha256(packages.encode()).hexdigest()
        (self._folder / "Release").write_text(
            "Suite: toy-security\nCodename: toy-security\nDate: Tue, 24 Nov 2026 00:00:00 UTC\n"
            f"SHA256:\n {digest} {len(packages)} Packages\n"
        )

    @property
    def source(self) -> str:
        return f"deb [trusted=yes check-date=no] {self.url} ./"


@pytest.fixture
def archive(tmp_path: Path, sdk: docker.DockerClient, base_image: str) -> Iterator[Archive]:
    folder = tmp_path / "debian-security"
    folder.mkdir()
    one = Archive(folder, sdk, base_image)
    place = sdk.networks.get("bridge").attrs["IPAM"]["Config"][0]
    gateway = place.get("Gateway") or str(ipaddress.ip_network(place["Subnet"])[1])

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer((gateway, 0), handler) as server:
        one.url = f"http://{gateway}:{server.server_port}/debian-security/"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield one
        server.shutdown()


def content(sdk: docker.DockerClient, image: str, path: str) -> str:
    return bytes(sdk.containers.run(image, ["cat", path], network_mode="none", remove=True)).decode().strip()


def labels(sdk: docker.DockerClient, image: str) -> dict[str, str]:
    return dict(sdk.images.get(image).labels)


@pytest.fixture
def others(archive: Archive, folder: Path, base_image: str) -> None:
    """The base has the package `common`, the language `toy` the package `own`; `plain` has neither."""
    archive.release("common", "1.0")
    archive.release("own", "1.0")
    (folder / "base" / "Dockerfile").write_text(
        f"FROM {base_image}\n"
        f"RUN rm -f /etc/apt/sources.list /etc/apt/sources.list.d/* &&"
        f" echo '{archive.source}' >/etc/apt/sources.list &&"
        " apt-get update -qq && apt-get install -y common && rm -rf /var/lib/apt/lists/*\n"
    )
    write_toy(folder, "RUN apt-get update -qq && apt-get install -y own && rm -rf /var/lib/apt/lists/*")
    (folder / "plain").mkdir()
    (folder / "plain" / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")


async def test_what_moved_is_built_anew(
    others: None, archive: Archive, builder: ImageBuilder, sdk: docker.DockerClient
) -> None:
    said: list[str] = []
    toy, plain = [await builder.ensure(name, said.append) for name in ("toy", "plain")]
    base = builder.base().reference
    assert labels(sdk, toy)[BASE_LABEL] == sdk.images.get(base).id
    assert await builder.built("toy") == labels(sdk, toy)[BUILT_LABEL]
    assert await builder.renew(["toy", "plain"], said.append) == []

    # Of the language alone.
    archive.release("own", "1.1")
    before = sdk.images.get(plain).id, sdk.images.get(base).id
    assert await builder.renew(["toy", "plain"], said.append) == ["toy"]
    assert f"{toy}: security updates of own" in said
    assert content(sdk, toy, "/opt/own") == "1.1"
    assert (sdk.images.get(plain).id, sdk.images.get(base).id) == before
    assert await builder.renew(["toy", "plain"], said.append) == []

    # Of the base: all that is made on it.
    archive.release("common", "1.0.1")
    assert await builder.renew(["toy", "plain"], said.append) == ["base", "toy", "plain"]
    assert [content(sdk, one, "/opt/common") for one in (toy, plain)] == ["1.0.1", "1.0.1"]
    assert labels(sdk, plain)[BASE_LABEL] == sdk.images.get(base).id
    assert await builder.renew(["toy", "plain"], said.append) == []
    assert sdk.containers.list(all=True, filters={"label": "type=coderunner-renewal"}) == []


async def test_nothing_is_renewed_for_which_there_is_no_room(
    others: None,
    archive: Archive,
    builder: ImageBuilder,
    sdk: docker.DockerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [await builder.ensure(name, lambda _line: None) for name in ("toy", "plain")]
    names.append(builder.base().reference)
    before = [sdk.images.get(name).id for name in names]
    base_bytes = sdk.images.get(names[-1]).attrs["Size"]
    # Enough for the language's own layers, and not for a new base with all that is made on it.
    monkeypatch.setattr(room, "free_of", lambda _root, _kernel: room.RESERVE_BYTES + base_bytes // 2)
    archive.release("common", "1.1")
    with pytest.raises(BuildFailed, match=r"no room on the disk to renew all: up to .* free [0-9,]+ MB"):
        await builder.renew(["toy", "plain"], lambda _line: None)
    assert [sdk.images.get(name).id for name in names] == before
    assert await builder.present(["toy", "plain"]) == {"toy", "plain"}

    archive.release("common", "1.0")
    archive.release("own", "1.1")
    monkeypatch.setattr(room, "free_of", lambda _root, _kernel: room.RESERVE_BYTES - 1)
    with pytest.raises(BuildFailed, match="no room on the disk to renew toy: "):
        await builder.renew(["toy", "plain"], lambda _line: None)
    assert [sdk.images.get(name).id for name in names] == before
    monkeypatch.setattr(room, "free_of", lambda _root, _kernel: room.RESERVE_BYTES + base_bytes // 2)
    assert await builder.renew(["toy", "plain"], lambda _line: None) == ["toy"]


async def test_an_image_on_another_base_does_not_count(
    others: None, builder: ImageBuilder, sdk: docker.DockerClient
) -> None:
    """Its tag is right, and what it was made on is not what is here any more."""
    toy = await builder.ensure("toy", lambda _line: None)
    old = sdk.images.get(toy).id
    base = builder.base().reference
    sdk.images.get(toy).tag(*base.split(":"))
    assert await builder.built("toy") is None
    assert await builder.ensure("toy", lambda _line: None) == toy
    assert sdk.images.get(toy).id != old


async def test_without_lists_nothing_happens(
    others: None, archive: Archive, builder: ImageBuilder, sdk: docker.DockerClient, tmp_path: Path
) -> None:
    toy = await builder.ensure("toy", lambda _line: None)
    before = sdk.images.get(toy).id
    (tmp_path / "debian-security" / "Release").unlink()
    (tmp_path / "debian-security" / "Packages").unlink()
    said: list[str] = []
    assert await builder.renew(["toy"], said.append) == []
    assert any("package lists cannot be fetched, so nothing is renewed: " in line for line in said)
    assert sdk.images.get(toy).id == before
