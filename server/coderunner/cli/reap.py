"""`reap`: removes containers and networks that servers have left behind."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

from coderunner import declarations, logs
from coderunner.cli.common import builder_of, load
from coderunner.config import Settings
from coderunner.engine.docker import DockerEngine
from coderunner.engine.sockets import AgentSockets
from coderunner.errors import CannotStart, CodeRunnerError
from coderunner.fleet.groups import end_networks, reap_networks
from coderunner.fleet.lost import remove_lost
from coderunner.fleet.provision import Identity
from coderunner.fleet.sweep import anothers, end_all, labels_of, session_of
from coderunner.fleet.sweep import reap as reap_containers
from coderunner.instance import holder_of, key_of, lives
from coderunner.sessions.record import owner_of
from coderunner.sign import holders, lives_elsewhere

REAP_NETWORK_SECONDS = 600.0  # age; to a younger network without members, a server may be adding some


def reap(arguments: argparse.Namespace) -> int:
    """Removes containers and networks that no server uses. Returns the exit code."""
    settings = load(arguments)
    logs.setup(settings.log_level, settings.log_format)  # type: ignore[arg-type]
    name = settings.instance_name

    async def work() -> None:
        """Removes the leftovers, and prints how many. Raises CodeRunnerError."""
        async with DockerEngine.connect(settings.docker_host, settings.docker_cmd_timeout / 1000) as engine:
            lost = 0
            if arguments.all:
                await _end_all(engine, settings)
                return
            if arguments.lost_key:
                key = key_of(Path(settings.state_dir), name)
                held = holders(name, Path(settings.state_dir))
                lost = await remove_lost(engine, name, key, held.alive, held.strangers)
            over = await reap_containers(
                engine, instance=None if arguments.every_instance else name, now=time.time()
            )
            networks = await reap_networks(engine, name, older_than=REAP_NETWORK_SECONDS, now=time.time())
            print(f"{name}: {over + lost} containers removed, {networks} networks removed")

    asyncio.run(work())
    return 0


async def _end_all(engine: DockerEngine, settings: Settings) -> None:
    """`reap --all`: removes all containers and networks of a stopped server.
    Raises CannotStart, CodeRunnerError."""
    state_dir, name = Path(settings.state_dir), settings.instance_name
    key = key_of(state_dir, name)
    # A server with another STATE_DIR may have the same name and key.
    if lives(state_dir, name) or (key is not None and await lives_elsewhere(name, key, state_dir)):
        raise CannotStart(f"the server {name!r} is running; stop it first")
    identity = Identity(
        instance=name,
        owner=owner_of(key) if key is not None else "",
        prefix=settings.network_prefix,
        runtime=None,
        lifetime_ms=0,
        create_seconds=settings.docker_timeout / 1000,
    )
    containers = await end_all(engine, identity)
    declared = declarations.load(only=settings.languages)
    builder = builder_of(settings, declared.folder)
    ready = await builder.present(declared.languages)
    image = next((builder.reference(language) for language in sorted(ready)), None)
    networks = await end_networks(engine, identity, image)
    await builder.forget_use(holder_of(state_dir, name))
    # Containers that are left, as the engine refused to remove them, still have their folders mounted.
    left = {session_of(one) for one in await engine.list(labels_of(name))}
    AgentSockets(state_dir / "sockets", name, settings.agent_stream).clear(left)
    print(f"{name}: {containers} containers removed, {networks} networks removed")
    others = await anothers(engine, identity)
    if others:
        shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        raise CodeRunnerError(
            f"{len(others)} containers of {name!r} were made with another key than the one in {state_dir},"
            f" and were not removed ({shown}). If they belong to another server, run this command with its"
            " STATE_DIR; if their key is lost, run `coderunner reap --lost-key`"
        )
