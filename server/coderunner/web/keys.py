"""Typed keys under which handlers find the server's parts in the aiohttp application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from coderunner.config import Settings
from coderunner.declarations import Declarations
from coderunner.engine.sockets import AgentSockets
from coderunner.fleet.catalog import LanguageCatalog
from coderunner.fleet.guests import Guests
from coderunner.fleet.registry import Registry
from coderunner.fleet.surroundings import Surroundings
from coderunner.fleet.warm import WarmPool
from coderunner.fleet.workers import WorkerPool
from coderunner.identity.chain import Verifiers
from coderunner.jobs.runs import Runs
from coderunner.store.store import Store
from coderunner.web.tcp_limits import TcpConnections
from coderunner.web.tickets import Tickets


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the server that the handlers use.

    `ready`: returns the reasons why no session could start now; empty if one could. `declared`: the
    languages' declarations and samples. `static`: the web client's folder. `surroundings`: facts about the
    machine. `agents`: how agents are reached. `runs`: runs and batches over HTTP.
    `identity`: verifies credentials. `store`: the database. `guests`: further tokens of sessions.
    `tickets`: of callers for whom a process of this server makes requests.
    """

    settings: Settings
    registry: Registry
    catalog: LanguageCatalog
    declared: Declarations
    warm: WarmPool
    workers: WorkerPool
    ready: Callable[[], Awaitable[list[str]]]
    static: Path
    surroundings: Surroundings
    agents: AgentSockets
    runs: Runs
    identity: Verifiers
    store: Store
    guests: Guests
    tickets: Tickets = field(default_factory=Tickets)


PARTS: web.AppKey[Parts] = web.AppKey("parts", Parts)
TCP_CONNECTIONS: web.AppKey[TcpConnections] = web.AppKey("tcp_connections", TcpConnections)
# The open WebSocket connections; `Any`, as `Connection` imports this module.
SOCKETS: web.AppKey[set[Any]] = web.AppKey("sockets", set)
SNAPSHOT: web.AppKey[CollectorRegistry] = web.AppKey("snapshot", CollectorRegistry)
