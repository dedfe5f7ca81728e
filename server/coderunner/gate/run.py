"""The command `coderunner engine-proxy`."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

from coderunner.config import Settings
from coderunner.engine.attach import Address
from coderunner.engine.docker import usual_socket
from coderunner.gate.bodies import Tables
from coderunner.gate.proxy import EngineGate
from coderunner.logs import fields

log = logging.getLogger(__name__)


async def run(settings: Settings, socket: Path) -> None:
    """Serves at the Unix socket `socket` until SIGTERM or SIGINT. Raises ConfigError, CannotStart."""
    address = Address.parse(settings.docker_host or usual_socket())
    gate = EngineGate(Tables.of(settings), address)
    stopped = asyncio.Event()
    # systemd and Docker stop a service with SIGTERM, a terminal with SIGINT.
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with gate.listening(socket):
        log.info("engine-proxy listens", extra=fields(at=str(socket), engine=str(address)))
        await stopped.wait()
