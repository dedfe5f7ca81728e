"""The images of the languages: each from its folder, with the agent laid on top, named by their contents.

An image's tag is a hash of everything that goes into it, so the same inputs are never built twice, a
change never runs on an old image, and two servers that build at once make the same thing.

    coderunner/base:<hash>       languages/base/Dockerfile, from debian:bookworm-slim
    coderunner/<name>:<hash>     languages/<name>/Dockerfile, from the base; then the recipe's epilogue
"""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests.exceptions

from coderunner.engine.docker import usual_socket
from coderunner.engine.origin import ORIGIN, OriginFailed, bootstrapped
from coderunner.engine.recipes import PREFIX, BadRecipe, Recipe, base_recipe, language_recipe
from coderunner.engine.sizes import Step
from coderunner.engine.threads import Say, Stop, in_thread
from coderunner.errors import EngineUnavailable, ImageMissing

LABEL = "coderunner-image"
CALL_SECONDS = 60
PULL_SILENCE_SECONDS = 20  # a registry that says nothing for so long is not there
BUILD_SILENCE_SECONDS = 600  # a single large package may take that long without a word
BUILD_SECONDS = 3600
LINE = 100  # characters of a line of progress
TAIL = 15  # lines of a failed build that are kept for the message


class BuildFailed(ImageMissing):
    """An image could not be built; the message has the last lines of the build."""


class ImageBuilder:
    """Builds with the `docker` SDK, in threads of its own; one build at a time.

    `host` is the engine's address (None: the usual sockets), `folder` the languages' folder, `uids` the user
    ids under which containers may run, `prefix` the first part of the images' names. Every method but `base`,
    `language` and `reference` may raise EngineUnavailable.
    """

    def __init__(self, host: str | None, folder: Path, uids: range, prefix: str = PREFIX) -> None:
        self._host = host
        self._folder = folder
        self._uids = uids
        self._prefix = prefix
        self._one = asyncio.Lock()

    # --- what is to be built ---------------------------------------------------------------------------

    def base(self) -> Recipe:
        """Raises BuildFailed where the folder has no Dockerfile."""
        with _recipes_told():
            return base_recipe(self._folder, self._prefix)

    def language(self, name: str) -> Recipe:
        """Raises BuildFailed where the folder has no Dockerfile."""
        with _recipes_told():
            return language_recipe(self._folder, name, self._uids, self._prefix)

    def reference(self, name: str) -> str:
        return self.language(name).reference

    # --- building --------------------------------------------------------------------------------------

    async def ensure(self, name: str, say: Say) -> str:
        """The reference of the language's image, which is there when this returns.

        `say` is told of progress, a line at a time, in the event loop. Raises BuildFailed, with what to do.
        """
        recipe, base = self.language(name), self.base()
        if not await self._exists(recipe.reference):
            async with self._one:
                await in_thread(lambda stop, tell: self._build_all([base, recipe], stop, tell), say)
        return recipe.reference

    async def exists(self, name: str) -> bool:
        return await self._exists(self.reference(name))

    async def histories(self, names: Iterable[str]) -> dict[str, list[Step]]:
        """The steps of each language's image, the oldest first. Raises ImageMissing where there is none."""
        wanted = {name: self.reference(name) for name in names}

        def look(stop: Stop, _tell: Say) -> dict[str, list[Step]]:
            with self._client(CALL_SECONDS, stop) as client:
                return {name: _history(client, reference) for name, reference in wanted.items()}

        return await in_thread(look, _silent)

    async def prune(self, names: Iterable[str]) -> list[str]:
        """Removes images of CodeRunner but the current ones of these languages; those removed.

        An image that a container still uses stays.
        """
        keep = {self.base().reference, *(self.reference(name) for name in names)}
        return await in_thread(lambda stop, _tell: self._prune(keep, stop), _silent)

    async def _exists(self, reference: str) -> bool:
        def look(stop: Stop, _tell: Say) -> bool:
            with self._client(CALL_SECONDS, stop) as client:
                return _has(client, reference)

        return await in_thread(look, _silent)

    # --- in the thread ---------------------------------------------------------------------------------

    @contextmanager
    def _client(self, silence_seconds: float, stop: Stop) -> Iterator[docker.APIClient]:
        """Foreign errors leave as ours."""
        client = None
        try:
            client = docker.APIClient(
                base_url=self._host or usual_socket(), version="auto", timeout=silence_seconds
            )
            client.hooks["response"].append(stop.follow)
            yield client
        except docker.errors.APIError as error:
            raise BuildFailed(f"the container engine refused: {error.explanation or error}") from error
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            raise EngineUnavailable(f"the container engine does not answer: {error}") from error
        finally:
            if client is not None:
                client.close()

    def _build_all(self, recipes: Iterable[Recipe], stop: Stop, tell: Say) -> None:
        """Each recipe is built on the one before."""
        with self._client(BUILD_SILENCE_SECONDS, stop) as client:
            wanted = list(recipes)
            if _has(client, wanted[-1].reference):
                return
            for number, recipe in enumerate(wanted):
                if _has(client, recipe.reference):
                    continue
                if number == 0:
                    self._ensure_origin(client, stop, tell)
                _build(client, recipe, stop, tell)

    def _ensure_origin(self, client: docker.APIClient, stop: Stop, tell: Say) -> None:
        """From a registry where one can be reached, else from Debian's packages."""
        if _has(client, ORIGIN):
            return
        tell(f"looking for {ORIGIN} in a registry")
        try:
            with self._client(PULL_SILENCE_SECONDS, stop) as puller:
                for step in puller.pull(*ORIGIN.split(":"), stream=True, decode=True):
                    if "error" in step:
                        tell(f"no registry has it for us: {str(step['error'])[:160]}")
        except (BuildFailed, EngineUnavailable) as error:
            tell(f"no registry can be reached: {error.message[:160]}")
        if _has(client, ORIGIN):
            return
        try:
            with bootstrapped(stop, tell) as archive:
                client.import_image_from_file(str(archive), *ORIGIN.split(":"))
        except OriginFailed as error:
            raise BuildFailed(str(error)) from None

    def _prune(self, keep: set[str], stop: Stop) -> list[str]:
        removed = []
        with self._client(CALL_SECONDS, stop) as client:
            for image in client.images(filters={"label": f"type={LABEL}"}):
                for tag in image.get("RepoTags") or []:
                    if tag.startswith(f"{self._prefix}/") and tag not in keep:
                        with suppress(docker.errors.APIError):  # in use, or gone by now
                            client.remove_image(tag)
                            removed.append(tag)
            # What builds that failed had made so far.
            client.prune_images(filters={"dangling": True, "label": f"type={LABEL}"})
        return removed


def _silent(_line: str) -> None:
    pass


def _has(client: docker.APIClient, reference: str) -> bool:
    try:
        client.inspect_image(reference)
    except docker.errors.ImageNotFound:
        return False
    return True


def _history(client: docker.APIClient, reference: str) -> list[Step]:
    try:
        steps = client.history(reference)
    except docker.errors.ImageNotFound:
        raise ImageMissing(f"{reference} is not here; build it with: coderunner images build") from None
    return [Step(one["CreatedBy"], one["Created"], one["Size"]) for one in reversed(steps)]


@contextmanager
def _recipes_told() -> Iterator[None]:
    try:
        yield
    except BadRecipe as error:
        raise BuildFailed(str(error)) from None


def _build(client: docker.APIClient, recipe: Recipe, stop: Stop, tell: Say) -> None:
    tell(f"building {recipe.reference}")
    began = time.monotonic()
    lines: list[str] = []
    steps: Iterable[dict[str, Any]] = client.build(
        fileobj=_archive(recipe.files),
        custom_context=True,
        tag=recipe.reference,
        buildargs=dict(recipe.arguments),
        labels={"type": LABEL},
        rm=True,
        forcerm=True,
        decode=True,
        use_config_proxy=True,
    )
    for step in steps:
        text = str(step.get("stream") or step.get("error") or "").strip()
        if text:
            lines = [*lines, *text.splitlines()][-TAIL:]
            if text.startswith("Step "):
                tell(text.splitlines()[0][:LINE])
        if "error" in step:
            raise BuildFailed(f"{recipe.reference} could not be built:\n" + "\n".join(lines))
        if time.monotonic() - began > BUILD_SECONDS:
            raise BuildFailed(f"{recipe.reference} was not built within {BUILD_SECONDS} s")
    if stop.is_set() or not _has(client, recipe.reference):
        raise BuildFailed(f"the build of {recipe.reference} was broken off")
    tell(f"built {recipe.reference} in {time.monotonic() - began:.0f} s")


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
