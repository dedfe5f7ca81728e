"""Builds the languages' images, each from its folder, with the agent added; names them by a hash.

An image's tag is a hash of everything that goes into it, so that the same input is never built twice, a
change never runs on an old image, and two servers that build at once make the same image. A language's image
has a label with the hash of its base image's content, and counts only if that base image is still the current
one: renewing the base renews all.

    coderunner/base:<hash>       languages/base/Dockerfile, from debian:trixie-slim
    coderunner/<name>:<hash>     languages/<name>/Dockerfile, from the base; then the recipe's epilogue
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import docker
import docker.errors
from msgspec import convert

from coderunner.engine import carry, renewal, room, uses
from coderunner.engine.building import (
    BASE_LABEL,
    BUILT_LABEL,
    LABEL,
    BuildFailed,
    build,
    history,
    image_id,
    image_size,
    is_current,
    labels_of,
    pull,
)
from coderunner.engine.origin import ORIGIN, OriginFailed, bootstrapped
from coderunner.engine.recipes import PREFIX, BadRecipe, Recipe, base_recipe, language_recipe, recipe_for
from coderunner.engine.sdk import connected
from coderunner.engine.sizes import Step, total
from coderunner.engine.threads import Say, Stop, in_thread
from coderunner.errors import EngineUnavailable
from coderunner.schema.engine import EngineFacts, ImageRow
from coderunner.schema.forms import UNIX

LOOK_SECONDS = 10  # for a call that only looks
CALL_SECONDS = 60  # for one that removes images, or writes a record
PULL_SILENCE_SECONDS = 20  # without progress: then a registry counts as unreachable
BUILD_SILENCE_SECONDS = 600  # without progress: installing one large package may take this long


class ImageBuilder:
    """Builds images with the `docker` SDK, in threads; each image in one build at a time.

    `host`: the engine's address (None: the default). `folder`: the languages' folder. `uids`: the user ids of
    sessions. `prefix`: the first part of the images' names. `output`: whether progress includes what the
    builds' commands print. Every coroutine but `first_steps` may raise
    EngineUnavailable. `base`, `language`, `final`, `reference` and `references` block: they read and hash
    some hundred files, so a server must not call them in its event loop.
    """

    def __init__(
        self, host: str | None, folder: Path, uids: range, prefix: str = PREFIX, *, output: bool = False
    ) -> None:
        self._host = host
        self._folder = folder
        self._uids = uids
        self._prefix = prefix
        self._output = output
        # Builds on a base that is being replaced would be wasted, so both take turns.
        self._one = asyncio.Lock()  # the base image, and renewals of all
        self._each: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # A lock of threads: records are written in threads, and a late one must not come back after
        # `forget_use`.
        self._noting = threading.Lock()
        self._begun: set[str] = set()  # languages that are being built
        self._forgotten: set[str] = set()  # holders whose records were removed for good

    # --- recipes ---------------------------------------------------------------------------------------

    def base(self) -> Recipe:
        """The recipe of the base image. Raises BuildFailed if its folder has no Dockerfile."""
        with _recipes_told():
            return base_recipe(self._folder, self._prefix)

    def language(self, name: str) -> Recipe:
        """The recipe of a language's image. Raises BuildFailed if its folder has no Dockerfile."""
        with _recipes_told():
            return language_recipe(self._folder, name, self._prefix)

    def final(self, name: str) -> Recipe:
        """The recipe of the image that containers use: the language's, or one on top of it that adds names
        for user ids outside NAMED_UIDS. Raises BuildFailed."""
        return recipe_for(self.language(name), self._uids)

    def reference(self, name: str) -> str:
        """The name of the language's image, whether it exists or not. Raises BuildFailed."""
        return self.final(name).reference

    def references(self, names: Iterable[str]) -> set[str]:
        """The names of all images that these languages need. Raises BuildFailed."""
        wanted = [recipe for name in names for recipe in (self.language(name), self.final(name))]
        return {self.base().reference, *(recipe.reference for recipe in wanted)}

    async def first_steps(self, names: Iterable[str]) -> dict[str, str]:
        """The first RUN command of each language's Dockerfile; languages with the same one share its layer.
        Languages with invalid folders are left out."""

        def look(_stop: Stop, _tell: Say) -> dict[str, str]:
            found = {}
            for name in names:
                with suppress(BuildFailed):
                    lines = self.language(name).files["Dockerfile"].decode().splitlines()
                    # Without any RUN it shares nothing, so its own name is a unique key.
                    found[name] = next((line for line in lines if line.startswith("RUN ")), name)
            return found

        return await in_thread(look, _silent)

    async def plan(self, names: Iterable[str]) -> room.Plan:
        """What is to be built of these languages, and whether the disk has room for it. `names`: the most
        wanted first. Raises BuildFailed."""
        order = list(names)

        def look(stop: Stop, _tell: Say) -> room.Plan:
            base = self.base()
            with self._client(CALL_SECONDS, stop) as client:
                present = {name for name in order if is_current(client, self.final(name), base)}
                cached = self._cached(client, base)
                free, root = self._free(client)
            return room.plan(room.read(self._folder), order, present, free, root, cached)

        return await in_thread(look, _silent)

    # --- building --------------------------------------------------------------------------------------

    async def ensure(self, name: str, say: Say) -> str:
        """Builds the language's image if it does not exist, and returns its name.

        `say`: called in the event loop with each line of progress. Raises BuildFailed, which says what to do.
        """

        def read(_stop: Stop, _tell: Say) -> tuple[Recipe, Recipe, Recipe]:
            return self.language(name), self.final(name), self.base()

        language, recipe, base = await in_thread(read, _silent)
        # The second caller waits, and finds the image that the first one has built.
        async with self._each[name]:
            if await self.built(name) is None:
                await self._refuse_without_room(name)
                self._begun.add(name)
                try:
                    # Held for the base alone: languages are built in parallel on it.
                    async with self._one:
                        await in_thread(lambda stop, report: self._build_base(base, stop, report), say)
                    await in_thread(partial(self._build_language, base, language), say)
                    if recipe != language:
                        await in_thread(partial(self._build_language, base, recipe), say)
                finally:
                    self._begun.discard(name)
        return recipe.reference

    async def _refuse_without_room(self, name: str) -> None:
        """Raises BuildFailed if the disk has no room for this image besides those that are being built."""
        plan = await self.plan([*sorted(self._begun - {name}), name])
        if plan.short:
            told = plan.sentence(choice=False)
            raise BuildFailed(f"no room on the disk for {name}: {told}, or leave it out of LANGUAGES")

    async def exists(self, name: str) -> bool:
        """Whether the language's image exists, made on the current base image."""
        return await self.built(name) is not None

    async def present(self, names: Iterable[str]) -> set[str]:
        """Those of these languages whose images exist. Raises BuildFailed if a folder is invalid."""

        def look(stop: Stop, _tell: Say) -> set[str]:
            base, wanted = self.base(), {name: self.final(name) for name in names}
            with self._client(LOOK_SECONDS, stop) as client:
                return {name for name, recipe in wanted.items() if is_current(client, recipe, base)}

        return await in_thread(look, _silent)

    async def built(self, name: str) -> str | None:
        """When the language's image was built, as an ISO date and time; None if it does not exist."""

        def look(stop: Stop, _tell: Say) -> str | None:
            recipe, base = self.final(name), self.base()
            with self._client(LOOK_SECONDS, stop) as client:
                current = is_current(client, recipe, base)
                return labels_of(client, recipe.reference)[BUILT_LABEL] if current else None

        return await in_thread(look, _silent)

    async def renew(self, names: Iterable[str], say: Say) -> list[str]:
        """Rebuilds images that have packages with security updates; returns the names of what was rebuilt.

        Only images that exist are considered; if the base image is rebuilt, all are. If Debian's package
        lists cannot be fetched, nothing is done, and `say` gets the reason. Raises BuildFailed, also if the
        disk has no room for what is to be built: before the base, for all images together.
        """

        def work(stop: Stop, report: Say) -> list[str]:
            wanted = {name: (self.language(name), self.final(name)) for name in names}
            return self._renew(self.base(), wanted, stop, report)

        async with self._one:
            return await in_thread(work, say)

    async def histories(self, names: Iterable[str]) -> dict[str, list[Step]]:
        """The build steps of each language's image, the oldest first. Raises ImageMissing."""

        def look(stop: Stop, _tell: Say) -> dict[str, list[Step]]:
            wanted = {name: self.reference(name) for name in names}
            with self._client(LOOK_SECONDS, stop) as client:
                return {name: history(client, reference) for name, reference in wanted.items()}

        return await in_thread(look, _silent)

    async def save(self, names: Iterable[str], path: Path, say: Say) -> int:
        """Writes these languages' images into one archive; its bytes.

        Raises ImageMissing for one that is not here, CannotCarry.
        """
        histories = await self.histories(names)

        def work(stop: Stop, tell: Say) -> int:
            wanted = [self.reference(name) for name in histories]
            with self._client(BUILD_SILENCE_SECONDS, stop) as client:
                return carry.save(client, wanted, path, total(histories), stop, tell)

        return await in_thread(work, say)

    async def load(self, path: Path, say: Say) -> list[str]:
        """Loads an archive of `save` into the engine; returns the names of its images. Raises CannotCarry."""

        def work(stop: Stop, tell: Say) -> list[str]:
            with self._client(BUILD_SILENCE_SECONDS, stop) as client:
                return carry.load(client, path, stop, tell)

        return await in_thread(work, say)

    async def note_use(self, holder: str, instance: str, names: Iterable[str]) -> None:
        """Records that a server uses the images of these languages, so that no other server's `prune` removes
        them.

        `holder`: a name that no other server has (`instance.holder_of`). `instance`: INSTANCE_NAME. Raises
        BuildFailed.
        """

        def work(stop: Stop, _tell: Say) -> None:
            wanted = self.references(names)
            with self._client(CALL_SECONDS, stop) as client, self._noting:
                # Under the lock: between the check and the record no `forget_use` can come.
                if holder not in self._forgotten:  # a stopping server may still be preparing languages
                    uses.note(client, holder, instance, wanted)

        await in_thread(work, _silent)

    async def forget_use(self, holder: str) -> None:
        """Removes a server's record, and makes no new one: its images may be removed by `prune`."""

        def work(stop: Stop, _tell: Say) -> None:
            with self._client(CALL_SECONDS, stop) as client, self._noting:
                self._forgotten.add(holder)
                # The set first: it stays true even if the engine does not answer.
                uses.forget(client, holder)

        await in_thread(work, _silent)

    async def prune(self, names: Iterable[str], *, besides: Iterable[str] = ()) -> list[str]:
        """Removes CodeRunner's images except the current ones of these languages; returns those removed.

        Images that a container uses are kept, and those that a server has recorded as in use, unless the
        server is one of `besides`.
        """

        def work(stop: Stop, _tell: Say) -> list[str]:
            return self._prune(self.references(names), set(besides), stop)

        return await in_thread(work, _silent)

    async def holders(self) -> list[str]:
        """The names of the servers that have recorded that they use images."""

        def look(stop: Stop, _tell: Say) -> list[str]:
            with self._client(LOOK_SECONDS, stop) as client:
                return sorted(uses.all_of(client))

        return await in_thread(look, _silent)

    # --- in the thread ---------------------------------------------------------------------------------

    @contextmanager
    def _client(self, silence_seconds: float, stop: Stop) -> Iterator[docker.APIClient]:
        """A client of the `docker` SDK, whose errors become BuildFailed or EngineUnavailable.

        `silence_seconds`: as for `connected`. `stop`: closes the running request when set.
        """
        try:
            with connected(self._host, silence_seconds) as client:
                # Each response is registered, so that `stop` can close the one that is being read.
                client.hooks["response"].append(stop.follow)
                yield client
        except docker.errors.APIError as error:
            raise BuildFailed(f"the container engine refused: {error.explanation or error}") from error

    def _near(self) -> bool:
        """Whether the engine may be on this machine, as far as its address tells."""
        return self._host is None or self._host.startswith(UNIX)

    def _cached(self, client: docker.APIClient, base: Recipe) -> set[str]:
        """The languages with an image on this base, of whatever version."""
        made_on, begin = image_id(client, base.reference), f"{self._prefix}/"
        if made_on is None:
            return set()
        labels = [f"type={LABEL}", f"{BASE_LABEL}={made_on}"]
        rows = convert(client.images(filters={"label": labels}), list[ImageRow])
        tags = [tag for row in rows for tag in row.repo_tags or () if tag.startswith(begin)]
        return {tag.removeprefix(begin).partition(":")[0] for tag in tags}

    def _build_base(self, base: Recipe, stop: Stop, report: Say) -> None:
        with self._client(BUILD_SILENCE_SECONDS, stop) as client:
            if image_id(client, base.reference) is None:
                self._ensure_origin(client, stop, report)
                build(client, base, {}, stop, report, output=self._output)

    def _build_language(self, base: Recipe, recipe: Recipe, stop: Stop, report: Say) -> None:
        with self._client(BUILD_SILENCE_SECONDS, stop) as client:
            if is_current(client, recipe, base):
                # Servers of one machine share images, and may build at the same moment.
                return  # built by another server in the meantime
            label = {BASE_LABEL: image_id(client, base.reference) or ""}
            build(client, recipe, label, stop, report, output=self._output)

    def _renew(
        self, base: Recipe, wanted: Mapping[str, tuple[Recipe, Recipe]], stop: Stop, report: Say
    ) -> list[str]:
        renewed = []
        with self._client(BUILD_SILENCE_SECONDS, stop) as client:
            if image_id(client, base.reference) is None:
                return []  # without the base there is no image to renew
            try:
                lists = renewal.security_lists(client, base.reference, report)
            except renewal.NoLists as error:
                report(f"Debian's package lists cannot be fetched, so nothing is renewed: {error}")
                return []
            if moved := renewal.upgradable(client, base.reference, lists):
                report(f"{base.reference}: security updates of {', '.join(moved)}")
                # Of all: an image that is not built after its base could not be used any more.
                self._refuse_renewal(client, "all", base, [one for one, _ in wanted.values()], anew=True)
                self._ensure_origin(client, stop, report)  # missing if images came from an archive
                build(client, base, {}, stop, report, anew=True, output=self._output)
                renewed.append("base")
            for name, (recipe, final) in wanted.items():
                # An image that is not here is built when a language is prepared, from the newest packages
                # anyway.
                if stop.is_set() or image_id(client, recipe.reference) is None:
                    continue
                # One on an outdated base is built anew in any case.
                if is_current(client, recipe, base):
                    moved = renewal.upgradable(client, recipe.reference, lists)
                    if not moved:
                        continue
                    report(f"{recipe.reference}: security updates of {', '.join(moved)}")
                self._refuse_renewal(client, name, base, [recipe])
                label = {BASE_LABEL: image_id(client, base.reference) or ""}
                # Without the cache: it would return the layers with the old packages.
                build(client, recipe, label, stop, report, anew=True, output=self._output)
                if final != recipe and image_id(client, final.reference) is not None:
                    build(client, final, label, stop, report, output=self._output)
                renewed.append(name)
        return renewed

    def _refuse_renewal(
        self,
        client: docker.APIClient,
        what: str,
        base: Recipe,
        recipes: Sequence[Recipe],
        *,
        anew: bool = False,
    ) -> None:
        """Raises BuildFailed without room for these beside the old images. `anew`: with the base's."""
        below = image_size(client, base.reference)
        # Built without the cache, each has its layers for itself.
        needed = sum(max(0, image_size(client, one.reference) - below) for one in recipes)
        free, root = self._free(client)
        if told := room.refusal(needed + (below if anew else 0), free, root):
            raise BuildFailed(f"no room on the disk to renew {what}: {told}")

    def _free(self, client: docker.APIClient) -> tuple[int | None, str]:
        """Free bytes of the engine's disk, None if it is on another machine; where it keeps images."""
        facts = convert(client.info(), EngineFacts)
        root = facts.docker_root_dir
        return (room.free_of(root, facts.kernel_version) if self._near() else None), root

    def _ensure_origin(self, client: docker.APIClient, stop: Stop, report: Say) -> None:
        """Fetches the origin image from a registry, or makes it from Debian's packages. Raises
        BuildFailed."""
        if image_id(client, ORIGIN) is not None:
            return
        report(f"looking for {ORIGIN} in a registry")
        try:
            # A client of its own, with a shorter time-out: an unreachable registry must not delay the start
            # by ten minutes.
            with self._client(PULL_SILENCE_SECONDS, stop) as puller:
                pull(puller, ORIGIN, report)
        except (BuildFailed, EngineUnavailable) as error:
            report(f"no registry can be reached: {error.message[:160]}")
        if image_id(client, ORIGIN) is not None:
            return
        try:
            with bootstrapped(stop, report) as archive:
                client.import_image_from_file(str(archive), *ORIGIN.split(":"))
        except OriginFailed as error:
            raise BuildFailed(str(error)) from None

    def _prune(self, keep: set[str], besides: set[str], stop: Stop) -> list[str]:
        removed = []
        with self._client(CALL_SECONDS, stop) as client:
            for holder, images in uses.all_of(client).items():
                if holder not in besides:
                    keep = keep | images
            for image in convert(client.images(filters={"label": f"type={LABEL}"}), list[ImageRow]):
                for tag in image.repo_tags or ():
                    if tag.startswith(f"{self._prefix}/") and tag not in keep:
                        with suppress(docker.errors.APIError):  # in use, or already removed
                            # By its name: only the name goes while another tag or a container still uses the
                            # image.
                            client.remove_image(tag)
                            removed.append(tag)
            # Layers of failed builds.
            client.prune_images(filters={"dangling": True, "label": f"type={LABEL}"})
        return removed


def _silent(_line: str) -> None:
    pass


@contextmanager
def _recipes_told() -> Iterator[None]:
    try:
        yield
    except BadRecipe as error:
        raise BuildFailed(str(error)) from None
