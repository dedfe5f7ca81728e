"""What a server logs of itself at its start: its settings, and the facts of its engine."""

from __future__ import annotations

import asyncio
import logging
import platform

from coderunner import __version__
from coderunner.config import Settings
from coderunner.engine.docker import RETRY_SECONDS, DockerEngine
from coderunner.errors import EngineError, UnsupportedEngine
from coderunner.here import no_slice, too_little_memory, too_many_cpus, too_much_memory
from coderunner.logs import fields

log = logging.getLogger(__name__)


def tell_settings(settings: Settings, languages: int) -> None:
    """Logs the first line: version, mode and limits."""
    facts = fields(
        version=__version__,
        mode=settings.app_env,
        instance=settings.instance_name,
        state=settings.state_dir,
        python=platform.python_version(),
        languages=languages,
        sessions=settings.max_concurrent_sessions,
        queue=settings.max_queue_size,
        per_address=settings.sessions_per_address,
        memory_bytes=settings.docker_memory,
        cpus=settings.docker_cpus,
        warm=settings.warm_max,
        workers=settings.worker_threads,
        log_level=settings.log_level,
    )
    log.info("CodeRunner %s starts in %s", __version__, settings.app_env, extra=facts)
    if (problem := too_little_memory(settings)) is not None:
        log.warning("the kernel may kill the server, as its memory limit is low", extra=fields(why=problem))


async def tell_engine(settings: Settings, engine: DockerEngine) -> None:
    """Waits until the engine answers, then logs its facts, and settings that it cannot fulfil."""
    while True:
        try:
            info = await engine.info()
        except EngineError:  # logged by the parts that need the engine
            await asyncio.sleep(RETRY_SECONDS)
            continue
        except UnsupportedEngine:
            return  # the adoption ends the server with the reason
        facts = fields(
            version=info.version,
            api=info.api_version,
            runtime=info.default_runtime,
            cgroup=info.cgroup_version,
            kernel=info.kernel,
            system=info.operating_system,
            cpus=info.cpus,
            memory_bytes=info.memory_bytes,
            live_restore=info.live_restore,
        )
        log.info("container engine %s", info.version, extra=facts)
        for problem in (too_many_cpus(settings, info), no_slice(settings, info)):
            if problem is not None:
                log.error("no session can start", extra=fields(why=problem))
        if (problem := too_much_memory(settings, info)) is not None:
            log.warning("the memory limit of sessions has no effect", extra=fields(why=problem))
        return
