"""An image is pulled from a registry, by the engine: a small registry of this test has one."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import docker
import docker.errors
import pytest

from coderunner.engine.building import pull

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def one_image() -> tuple[bytes, dict[str, bytes]]:
    """(manifest, blobs by digest) of an image with one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        content = secrets.token_bytes(64)
        entry = tarfile.TarInfo("file")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    layer = gzip.compress(packed.getvalue())
    roots = {"type": "layers", "diff_ids": [digest(packed.getvalue())]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": roots, "config": {}}).encode()
    first, second = (
        {"mediaType": kind, "size": len(data), "digest": digest(data)}
        for kind, data in ((CONFIG, config), (LAYER, layer))
    )
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": first, "layers": [second]}
    return json.dumps(manifest).encode(), {digest(config): config, digest(layer): layer}


@contextmanager
def registry(*, broken: bool = False) -> Iterator[str]:
    """The address of a registry.  `broken`: its layer is not the one that the manifest names."""
    manifest, blobs = one_image()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, name = [*self.path.split("/"), ""][-3:-1]
            if kind == "manifests":
                self.answer(manifest, MANIFEST)
            elif kind == "blobs" and name in blobs:
                wrong = broken and blobs[name].startswith(b"\x1f\x8b")
                self.answer(bytes(len(blobs[name])) if wrong else blobs[name], "application/octet-stream")
            else:
                self.answer(b"{}", "application/json")

        do_HEAD = do_GET

        def answer(self, data: bytes, kind: str) -> None:
            self.send_response(200)
            for header, value in (
                ("Docker-Distribution-Api-Version", "registry/2.0"), ("Content-Type", kind),
                ("Content-Length", str(len(data))), ("Docker-Content-Digest", digest(data)),
            ):  # fmt: skip
                self.send_header(header, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@pytest.fixture
def client() -> Iterator[docker.APIClient]:
    one = docker.APIClient(version="auto", timeout=20)
    yield one
    one.close()


def test_an_image_comes_from_a_registry(client: docker.APIClient):
    told: list[str] = []
    with registry() as address:
        reference = f"{address}/debian:trixie-slim"
        try:
            pull(client, reference, told.append)
            assert client.inspect_image(reference)["Os"] == "linux"
            assert told == []
        finally:
            client.remove_image(reference, force=True)


def test_a_refusal_in_the_middle_of_the_transfer_is_told(client: docker.APIClient):
    told: list[str] = []
    with registry(broken=True) as address:
        reference = f"{address}/debian:trixie-slim"
        pull(client, reference, told.append)
        with pytest.raises(docker.errors.ImageNotFound):
            client.inspect_image(reference)
    assert len(told) == 1
    assert told[0].startswith("the registry did not provide it: ")
