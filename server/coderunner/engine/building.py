"""Builds and pulls images, and reads facts about them, with the `docker` SDK.

All functions block the thread, and raise the SDK's errors.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import docker
import docker.errors
from msgspec import convert

from coderunner.core.steps import OUTPUT, OUTPUT_LINE, plain, step_of, why_failed
from coderunner.engine.recipes import Recipe
from coderunner.engine.sizes import Step
from coderunner.engine.threads import Say, Stop
from coderunner.errors import ImageMissing
from coderunner.schema.engine import BuildStep, ImageDocument, ImageStep

LABEL = "coderunner-image"
BASE_LABEL = "coderunner.base"  # the id of the image it was made on, which is a hash of its content
BUILT_LABEL = "coderunner.built"  # when, in UTC
BUILD_SECONDS = 3600  # for a build
LINE = 100  # characters of a line of progress
TAIL = 15  # last lines of a failed build, for the message


class BuildFailed(ImageMissing):
    """An image could not be built; the message has the last lines of the build's output."""


def image_id(client: docker.APIClient, reference: str) -> str | None:
    """A hash of the image's content; None if the image does not exist."""
    try:
        return convert(client.inspect_image(reference), ImageDocument).id
    except docker.errors.ImageNotFound:
        return None


def image_size(client: docker.APIClient, reference: str) -> int:
    """Bytes of the image with all its layers; 0 if it does not exist."""
    try:
        return convert(client.inspect_image(reference), ImageDocument).size
    except docker.errors.ImageNotFound:
        return 0


def labels_of(client: docker.APIClient, reference: str) -> dict[str, str]:
    """The image's labels; empty if it does not exist."""
    try:
        config = convert(client.inspect_image(reference), ImageDocument).config
        return (config and config.labels) or {}
    except docker.errors.ImageNotFound:
        return {}


def is_current(client: docker.APIClient, recipe: Recipe, base: Recipe) -> bool:
    """Whether the language's image exists and was made on the current base image. On a machine without a base
    image, as the images were loaded from an archive, any base counts."""
    made_on = labels_of(client, recipe.reference).get(BASE_LABEL)
    return made_on is not None and made_on == (image_id(client, base.reference) or made_on)


def history(client: docker.APIClient, reference: str) -> list[Step]:
    """The steps of an image, the oldest first. Raises ImageMissing."""
    try:
        steps = convert(client.history(reference), list[ImageStep])
    except docker.errors.ImageNotFound:
        raise ImageMissing(f"the image {reference} does not exist; run `coderunner images build`") from None
    return [Step(one.created_by, one.created, one.size) for one in reversed(steps)]


def pull(client: docker.APIClient, reference: str, report: Say) -> None:
    """Pulls an image from its registry. What the registry refuses during the transfer goes to `report`."""
    repository, _, tag = reference.rpartition(":")
    # An error in the middle has no status: the answer has begun, so it is one more line of progress.
    for told in client.pull(repository, tag, stream=True, decode=True):
        step = convert(told, BuildStep)
        if step.error is not None:
            report(f"the registry did not provide it: {step.error[:160]}")


def build(
    client: docker.APIClient,
    recipe: Recipe,
    labels: Mapping[str, str],
    stop: Stop,
    report: Say,
    *,
    anew: bool = False,
    output: bool = False,
) -> None:
    """Builds an image. `labels`: added to it. `anew`: without the engine's build cache. `output`: whether
    `report` gets what the steps print, too, after OUTPUT. Raises BuildFailed."""
    report(f"building {recipe.reference}")
    began = time.monotonic()
    lines: list[str] = []
    at = None
    steps: Iterable[object] = client.build(
        fileobj=archive_of(recipe.files),
        custom_context=True,
        tag=recipe.reference,
        buildargs=dict(recipe.arguments),
        labels={"type": LABEL, BUILT_LABEL: datetime.now(UTC).isoformat(timespec="seconds"), **labels},
        nocache=anew,
        rm=True,
        forcerm=True,
        decode=True,
        use_config_proxy=True,
    )
    for told in steps:
        # The bytes of all files, sorted, so that equal inputs give an equal context and the engine's cache
        # holds.
        step = convert(told, BuildStep)
        text = plain(step.stream or step.error or "")
        if text:
            # Only the end is kept: a build can print megabytes.
            lines = [*lines, *text.splitlines()][-TAIL:]
            if (begun := step_of(text)) is not None:
                at = begun
                report(text.splitlines()[0][:LINE])
            elif output:
                for line in text.splitlines():
                    report(OUTPUT + line[:OUTPUT_LINE])
        if step.error is not None:
            why = why_failed(at, step.error)
            raise BuildFailed("\n".join([f"{recipe.reference} could not be built: {why}", *lines]))
        # Looked at with each message only; silence is bounded by the client's time-out.
        if time.monotonic() - began > BUILD_SECONDS:
            raise BuildFailed(f"{recipe.reference} was not built within {BUILD_SECONDS} s")
    # A stopped response looks like a complete one, so the image itself is the proof.
    if stop.is_set() or image_id(client, recipe.reference) is None:
        raise BuildFailed(f"the build of {recipe.reference} was cancelled")
    report(f"built {recipe.reference} in {time.monotonic() - began:.0f} s")


def archive_of(files: Mapping[str, bytes]) -> io.BytesIO:
    """A build's context as a tar archive. Files that begin with `#!` are executable."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            # The executable bit of a checkout may be lost (zip archives, Windows), so the content decides.
            entry.mode = 0o755 if data.startswith(b"#!") else 0o644
            archive.addfile(entry, io.BytesIO(data))
    buffer.seek(0)
    return buffer
