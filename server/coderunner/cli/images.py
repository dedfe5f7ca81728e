"""`images` and `languages`: manages the languages' images, lists the languages, runs their samples."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from coderunner import bars, declarations
from coderunner.cli.common import builder_of, load, named, server_of
from coderunner.config import Settings
from coderunner.core.steps import OUTPUT, is_detail, step_of
from coderunner.engine import room, sizes
from coderunner.errors import CodeRunnerError
from coderunner.instance import holder_of, lives

if TYPE_CHECKING:
    from coderunner.engine.images import ImageBuilder


def images(arguments: argparse.Namespace) -> int:
    """Builds, lists, renews, removes, saves or loads images. Returns the exit code."""
    settings = load(arguments)
    declared = declarations.load(only=named(arguments) or settings.languages)
    builder = builder_of(settings, declared.folder, output=arguments.verbose)
    drawn = arguments.action == "build" and not arguments.verbose
    lines = bars.made(sys.stderr, os.environ) if drawn else None
    state = bars.Look(0, len(declared.demand))

    def say(line: str) -> None:
        """Reports a line of a build: with --verbose all of them, otherwise the steps."""
        nonlocal state
        if arguments.verbose or not is_detail(line):
            tell(f"  {line}")
        if state.builds and not line.startswith(OUTPUT):
            now = replace(state.builds[0], step=str(step_of(line) or line))
            state = replace(state, builds=(now,))

    def tell(line: str) -> None:
        """Prints a line, above the bars if there are any."""
        if lines is not None and sys.stdout.isatty():
            lines.write(line + "\n")  # above what is drawn on the same terminal
        else:
            print(line, flush=True)

    async def work() -> None:
        """Does what `arguments.action` names. Raises CodeRunnerError."""
        nonlocal state
        if arguments.action in ("save", "load"):
            await _carry(arguments, builder, declared.demand, say)
            return
        if arguments.action == "prune":
            await _prune(arguments, settings, builder, declared.languages)
            return
        if arguments.action == "build":
            state_dir, name = Path(settings.state_dir), settings.instance_name
            # A running server records the images it uses itself;
            # it may be of another release, with other images.
            if not lives(state_dir, name):
                offered = declarations.load(only=settings.languages).languages
                await builder.note_use(holder_of(state_dir, name), name, offered)
            plan = await builder.plan(declared.demand)
            if plan.short:
                raise CodeRunnerError(plan.sentence(choice=not arguments.names))
            if plan.missing:
                print(plan.sentence(), flush=True)
        async with bars.shown(lines, lambda: state):
            for number, name in enumerate(declared.demand):
                if arguments.action == "list":
                    built = await builder.built(name)
                    print(f"{builder.reference(name)}  {f'present, built {built}' if built else 'not built'}")
                else:
                    build = bars.Build(declared.languages[name].title, "", time.monotonic())
                    state = replace(state, ready=number, builds=(build,))
                    tell(await builder.ensure(name, say))
        if arguments.action == "renew":
            renewed = await builder.renew(declared.languages, say)
            print(f"renewed: {', '.join(renewed) or 'nothing'}")

    asyncio.run(work())
    return 0


async def _carry(
    arguments: argparse.Namespace, builder: ImageBuilder, names: list[str], say: Callable[[str], None]
) -> None:
    """`images save` and `images load`, for machines without a network. Raises CodeRunnerError."""
    from coderunner.engine.carry import CannotCarry

    if arguments.file is None:
        raise CodeRunnerError(f"images {arguments.action} needs an archive; add --file images.tar.gz")
    try:
        if arguments.action == "save":
            size = await builder.save(names, arguments.file, say)
            print(f"{arguments.file}: {len(names)} languages, {round(size / 1e6):,} MB")
            return
        loaded = set(await builder.load(arguments.file, say))
    except CannotCarry as error:
        raise CodeRunnerError(str(error)) from None
    present = await builder.present(names)
    ours = {builder.reference(name): name for name in names}
    print(f"usable: {', '.join(sorted(present)) or 'none'}")
    for reference in sorted(loaded - {reference for reference, name in ours.items() if name in present}):
        other = ours.get(reference)
        base = builder.base().reference
        print(
            f"{reference}: not usable, as it was built on another base image than this machine's; run"
            f" `docker rmi {base}`, then load again"
            if other
            else f"{reference}: not usable: it was made by another version or for other user ids"
            " (SESSION_UID_BASE, SESSION_UID_COUNT), or is of a language that was not asked for"
        )


async def _prune(
    arguments: argparse.Namespace, settings: Settings, builder: ImageBuilder, names: Iterable[str]
) -> None:
    """`images prune`: removes images that neither this version nor another server uses."""
    state_dir, name = Path(settings.state_dir), settings.instance_name
    own = holder_of(state_dir, name)
    # The notes of holders in `besides` do not protect images.
    # The own note is one of them unless the server runs.
    besides = [] if lives(state_dir, name) else [own]
    if arguments.every_instance:
        besides = await builder.holders()
    for tag in await builder.prune(names, besides=besides):
        print(f"removed {tag}")
    for holder in await builder.holders():
        if arguments.every_instance:
            await builder.forget_use(holder)
        elif holder != own:
            print(
                f"kept the images that {holder} uses; if that server no longer exists, run"
                " `coderunner images prune --every-instance`"
            )


def list_languages(arguments: argparse.Namespace) -> int:
    """Prints the languages. Returns the exit code."""
    for language in declarations.load(only=load(arguments).languages).languages.values():
        print(f"{language.name:<14}  {language.version:<20}  {language.title}")
    return 0


def language_table(arguments: argparse.Namespace) -> int:
    """Prints the table of languages of docs/languages.md. Returns the exit code."""
    settings = load(arguments)
    declared = declarations.load(only=settings.languages)
    histories = asyncio.run(builder_of(settings, declared.folder).histories(declared.languages))
    print(sizes.markdown(declared.languages, histories), end="")
    return 0


def language_sizes(arguments: argparse.Namespace) -> int:
    """Prints the sizes of the images that exist, in the form of `languages/sizes.toml`. Returns the exit
    code."""
    settings = load(arguments)
    declared = declarations.load(only=settings.languages)
    histories = asyncio.run(builder_of(settings, declared.folder).histories(declared.languages))
    print(room.learned(histories), end="")
    return 0


def test_languages(arguments: argparse.Namespace) -> int:
    """Runs the languages' samples on a server. Returns the exit code."""
    declared = declarations.load(only=named(arguments))
    from coderunner.samples import run as samples

    return samples.main(server_of(arguments), arguments.bearer, declared, arguments.names)
