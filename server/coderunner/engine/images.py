"""The images of the languages: each from its folder, with the agent laid on top, named by their contents.

An image's tag is a hash of everything that goes into it, so the same inputs are never built twice, a
change never runs on an old image, and two servers that build at once make the same thing.

    coderunner/base:<hash>       languages/base/Dockerfile, from debian:bookworm-slim
    coderunner/<name>:<hash>     languages/<name>/Dockerfile, from the base; then EPILOGUE
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests.exceptions

from coderunner.errors import ImageMissing

log = logging.getLogger(__name__)

ORIGIN = "debian:bookworm-slim"
SUITE = "bookworm"
PREFIX = "coderunner"
LABEL = "coderunner-image"
AGENT = Path(__file__).parent.parent / "agent"
PULL_SECONDS = 20
BOOTSTRAP_SECONDS = 600
BUILD_SECONDS = 1800
TAIL = 15  # lines of a failed build that are kept for the message
NOT_IN_IMAGE = ("samples", "language.toml", "__pycache__")

EPILOGUE = """
USER root
COPY .coderunner/agent /opt/coderunner/agent
COPY .coderunner/passwd .coderunner/group /tmp/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/coderunner \\
 && cat /tmp/passwd >> /etc/passwd && cat /tmp/group >> /etc/group && rm /tmp/passwd /tmp/group \\
 && find / -xdev -perm /6000 -type f -exec chmod a-s {} + \\
 && mkdir -p /workspace
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image is made of.  ``files``: the build context."""

    reference: str
    files: Mapping[str, bytes]
    arguments: Mapping[str, str]


class BuildFailed(ImageMissing):
    """An image could not be built; the message has the last lines of the build."""


class ImageBuilder:
    """Builds with the `docker` SDK, in threads; one build at a time.  ``uids``: who may live in a container."""

    def __init__(self, host: str | None, folder: Path, uids: range) -> None:
        self._host = host
        self._folder = folder
        self._uids = uids
        self._one = asyncio.Lock()

    # --- what is to be built ---------------------------------------------------------------------------

    def base(self) -> Recipe:
        return _recipe("base", _context(self._folder / "base"), {})

    def language(self, name: str) -> Recipe:
        files = dict(_context(self._folder / name))
        files["Dockerfile"] += EPILOGUE.encode()
        for path in sorted(AGENT.glob("*.py")):
            files[f".coderunner/agent/{path.name}"] = path.read_bytes()
        # One name for all, so that prompts and `whoami` read the same; programs look users up by number.
        files[".coderunner/passwd"] = "".join(
            f"coder:x:{uid}:{uid}:CodeRunner:/workspace:/bin/bash\n" for uid in self._uids
        ).encode()
        files[".coderunner/group"] = "".join(f"coder:x:{uid}:\n" for uid in self._uids).encode()
        return _recipe(name, files, {"BASE": self.base().reference})

    def reference(self, name: str) -> str:
        return self.language(name).reference

    # --- building --------------------------------------------------------------------------------------

    async def ensure(self, name: str, say: Say) -> str:
        """The reference of the language's image, which is there when this returns.

        Raises BuildFailed, with what to do about it.
        """
        recipe = self.language(name)
        if await asyncio.to_thread(self._exists, recipe.reference):
            return recipe.reference
        async with self._one:
            return await asyncio.to_thread(self._ensure, recipe, say)

    async def exists(self, name: str) -> bool:
        return await asyncio.to_thread(self._exists, self.reference(name))

    async def prune(self, names: Iterable[str]) -> list[str]:
        """Removes images of these languages (and of the base) that are not the current ones."""
        keep = {self.base().reference, *(self.reference(name) for name in names)}
        return await asyncio.to_thread(self._prune, keep)

    def _client(self) -> docker.DockerClient:
        try:
            if self._host:
                return docker.DockerClient(base_url=self._host, timeout=BUILD_SECONDS)
            return docker.from_env(timeout=BUILD_SECONDS)
        except docker.errors.DockerException as error:
            raise BuildFailed(f"the container engine does not answer: {error}") from None

    def _exists(self, reference: str) -> bool:
        client = self._client()
        try:
            client.images.get(reference)
            return True
        except docker.errors.ImageNotFound:
            return False
        except (docker.errors.APIError, requests.exceptions.RequestException) as error:
            raise BuildFailed(f"the container engine does not answer: {error}") from None
        finally:
            client.close()

    def _ensure(self, recipe: Recipe, say: Say) -> str:
        client = self._client()
        try:
            if not self._has(client, recipe.reference):
                base = self.base()
                if not self._has(client, base.reference):
                    self._ensure_origin(client, say)
                    _build(client, base, say)
                _build(client, recipe, say)
            return recipe.reference
        except docker.errors.BuildError as error:
            raise BuildFailed(str(error)) from None
        except (docker.errors.APIError, requests.exceptions.RequestException) as error:
            raise BuildFailed(f"the container engine failed while building: {error}") from None
        finally:
            client.close()

    def _has(self, client: docker.DockerClient, reference: str) -> bool:
        try:
            client.images.get(reference)
            return True
        except docker.errors.ImageNotFound:
            return False

    def _prune(self, keep: set[str]) -> list[str]:
        client = self._client()
        removed = []
        try:
            for image in client.images.list(filters={"label": f"type={LABEL}"}):
                for tag in image.tags:
                    if tag.startswith(f"{PREFIX}/") and tag not in keep:
                        try:
                            client.images.remove(tag)
                            removed.append(tag)
                        except docker.errors.APIError as error:
                            log.info("image %s kept: %s", tag, error.explanation)
        finally:
            client.close()
        return removed

    # --- the origin ------------------------------------------------------------------------------------

    def _ensure_origin(self, client: docker.DockerClient, say: Say) -> None:
        """`debian:bookworm-slim`: from a registry where one can be reached, else from Debian's packages."""
        if self._has(client, ORIGIN):
            return
        say(f"looking for {ORIGIN} in a registry")
        puller = docker.DockerClient(base_url=client.api.base_url, timeout=PULL_SECONDS) if self._host else None
        try:
            (puller or client).images.pull(*ORIGIN.split(":"))
            return
        except (docker.errors.APIError, requests.exceptions.RequestException) as error:
            say(f"no registry: {str(error)[:160]}")
        finally:
            if puller is not None:
                puller.close()
        self._bootstrap(client, say)

    def _bootstrap(self, client: docker.DockerClient, say: Say) -> None:
        if shutil.which("mmdebstrap") is None:
            raise BuildFailed(
                f"{ORIGIN} is not here, no registry can be reached, and mmdebstrap is not installed. Either"
                " run `apt-get install mmdebstrap` (as root) and try again, or load the image from another"
                f" machine: `docker save {ORIGIN} | gzip > base.tar.gz` there, `docker load < base.tar.gz` here"
            )
        say(f"making {ORIGIN} from Debian's packages with mmdebstrap")
        with tempfile.TemporaryDirectory(prefix="coderunner-base-") as folder:
            archive = Path(folder) / "base.tar"
            command = ["mmdebstrap", "--variant=minbase", "--aptopt=Acquire::Languages \"none\""]
            for excluded in ("doc", "man", "info", "locale", "lintian", "linda"):
                command.append(f"--dpkgopt=path-exclude=/usr/share/{excluded}/*")
            command += [SUITE, str(archive)]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=BOOTSTRAP_SECONDS, check=False
                )
            except subprocess.TimeoutExpired:
                raise BuildFailed(f"mmdebstrap took longer than {BOOTSTRAP_SECONDS} s") from None
            if done.returncode != 0:
                tail = "\n".join(done.stderr.splitlines()[-TAIL:])
                raise BuildFailed(f"mmdebstrap failed (run it as root, with Debian's packages in reach):\n{tail}")
            with archive.open("rb") as data:
                client.api.import_image_from_data(data, *ORIGIN.split(":"))


def _context(folder: Path) -> dict[str, bytes]:
    """The files of a build, by path; sorted, so that a hash over them is stable."""
    if not (folder / "Dockerfile").is_file():
        raise BuildFailed(f"languages/{folder.name} has no Dockerfile")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in NOT_IN_IMAGE
    }


def _recipe(name: str, files: Mapping[str, bytes], arguments: Mapping[str, str]) -> Recipe:
    digest = hashlib.sha256()
    for part in (*(f"{key}={value}" for key, value in sorted(arguments.items())), ORIGIN):
        digest.update(part.encode() + b"\0")
    for path, data in sorted(files.items()):
        digest.update(path.encode() + b"\0" + hashlib.sha256(data).digest())
    return Recipe(f"{PREFIX}/{name}:{digest.hexdigest()[:12]}", files, arguments)


def _archive(files: Mapping[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def _build(client: docker.DockerClient, recipe: Recipe, say: Say) -> None:
    say(f"building {recipe.reference}")
    lines: list[str] = []
    steps: Iterable[dict[str, Any]] = client.api.build(
        fileobj=_archive(recipe.files),
        custom_context=True,
        tag=recipe.reference,
        buildargs=dict(recipe.arguments),
        labels={"type": LABEL},
        rm=True,
        forcerm=True,
        decode=True,
        timeout=BUILD_SECONDS,
    )
    for step in steps:
        text = str(step.get("stream") or step.get("error") or "").strip()
        if text:
            lines = [*lines, *text.splitlines()][-TAIL:]
            if text.startswith("Step "):
                say(text.splitlines()[0])
        if "error" in step:
            raise BuildFailed(f"{recipe.reference} could not be built:\n" + "\n".join(lines))
    say(f"built {recipe.reference}")
