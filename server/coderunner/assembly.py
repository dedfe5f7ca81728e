"""Makes the parts that provide sessions, from the settings. They are started elsewhere (`app`)."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from coderunner.config import Settings
from coderunner.core.admission import Admission
from coderunner.core.limits import LimitRules
from coderunner.declarations import Declarations
from coderunner.engine.docker import DockerEngine
from coderunner.engine.sockets import AgentSockets
from coderunner.fleet.catalog import LanguageCatalog
from coderunner.fleet.groups import GroupRules, Groups
from coderunner.fleet.guests import Guests
from coderunner.fleet.provision import Identity, Provisioner
from coderunner.fleet.queue import AdmissionQueue
from coderunner.fleet.readiness import Readiness
from coderunner.fleet.registry import Registry
from coderunner.fleet.surroundings import Surroundings
from coderunner.fleet.uids import Uids
from coderunner.fleet.warm import WarmPool
from coderunner.fleet.watchdog import Watchdog
from coderunner.fleet.workers import WorkerPool
from coderunner.identity.chain import Verifiers
from coderunner.jobs.runs import Runs
from coderunner.places import STATIC
from coderunner.sessions.deadlines import ResumeTimeouts
from coderunner.sessions.quotas import Quotas
from coderunner.sessions.record import owner_of
from coderunner.sessions.session import Rules
from coderunner.sessions.specs import ProjectRules
from coderunner.store.store import Store
from coderunner.web.keys import Parts

# The default of SESSION_MEMORY is this many times the machine's memory, as few sessions reach their limit.
OVERCOMMIT = 4


@dataclass(frozen=True, slots=True)
class Fleet:
    """The parts that provide and count sessions."""

    catalog: LanguageCatalog
    provisioner: Provisioner
    warm: WarmPool
    groups: Groups
    registry: Registry
    readiness: Readiness
    watchdog: Watchdog
    surroundings: Surroundings
    agents: AgentSockets

    def parts(
        self,
        settings: Settings,
        declared: Declarations,
        pool: WorkerPool,
        runs: Runs,
        identity: Verifiers,
        store: Store,
    ) -> Parts:
        """The parts as HTTP handlers use them. `runs`: runs and batches over HTTP; `identity`: verifies
        credentials; `store`: the database."""
        return Parts(
            settings, self.registry, self.catalog, declared, self.warm, pool, self.readiness, STATIC,
            self.surroundings, self.agents, runs, identity, store, Guests(store),
        )  # fmt: skip


def assembled(
    settings: Settings,
    declared: Declarations,
    engine: DockerEngine,
    pool: WorkerPool,
    key: bytes,
    quotas: Quotas | None = None,
) -> Fleet:
    """Makes the parts, in the order of their dependencies. `key`: the instance's secret. `quotas`: None for
    none."""
    rules = _limit_rules(settings, declared)
    catalog = LanguageCatalog(declared.languages, rules.defaults)
    agents = AgentSockets(Path(settings.state_dir) / "sockets", settings.instance_name, settings.agent_stream)
    uids = Uids(settings.session_uid_base, settings.session_uid_count)
    provisioner = Provisioner(engine, pool, catalog, uids, _identity(settings, key), agents)
    warm = WarmPool(
        provisioner, floor=settings.warm_floor, ceiling=settings.warm_max, memory_available=memory_available
    )
    groups = Groups(
        engine, pool, provisioner.identity, _group_rules(settings), key=key,
        # The container that sets a group's firewall rules may have any image,
        # as all contain the agent's files.
        image=lambda: next((catalog.image(name) for name in catalog.ready()), None),
    )  # fmt: skip
    registry = Registry(
        provisioner, warm, _queue(settings), _session_rules(settings, rules), key=key,
        queue_timeout=settings.queue_timeout / 1000, groups=groups if settings.max_groups else None,
        budget=settings.buffer_memory, quotas=quotas,
    )  # fmt: skip
    readiness = Readiness(engine, catalog, provisioner, warm)
    readiness.registry = registry
    watchdog = Watchdog(engine, lambda: registry.sessions, settings.watchdog_interval / 1000)
    surroundings = Surroundings(
        engine,
        settings.max_concurrent_sessions + settings.warm_max,
        watchdog.warnings,
        logging.WARNING if settings.production else logging.DEBUG,
        groups=settings.max_groups > 0,
    )
    return Fleet(catalog, provisioner, warm, groups, registry, readiness, watchdog, surroundings, agents)


def _limit_rules(settings: Settings, declared: Declarations) -> LimitRules:
    return declared.rules.under(
        memory_bytes=settings.docker_memory,
        cpus=settings.docker_cpus,
        lifetime_ms=settings.session_ttl,
        idle_ms=settings.session_idle_timeout,
    )


def _group_rules(settings: Settings) -> GroupRules:
    return GroupRules(settings.max_groups, settings.group_members, IPv4Network(settings.group_address_pool))


def _identity(settings: Settings, key: bytes) -> Identity:
    return Identity(
        instance=settings.instance_name,
        owner=owner_of(key),
        prefix=settings.network_prefix,
        runtime=settings.docker_runtime,
        lifetime_ms=settings.session_ttl,
        create_seconds=settings.docker_timeout / 1000,
        disk_read=settings.disk_read_limit,
        cgroup_parent=settings.cgroup_parent,
    )


def _queue(settings: Settings) -> AdmissionQueue:
    return AdmissionQueue(
        Admission(
            settings.max_concurrent_sessions,
            settings.max_queue_size,
            settings.sessions_per_address,
            settings.sessions_per_principal,
            # 0, if the machine's memory is unknown, means unlimited.
            memory=settings.session_memory or _machine_memory()[0] * OVERCOMMIT,
        )
    )


def _session_rules(settings: Settings, limits: LimitRules) -> Rules:
    return Rules(
        limits=limits,
        project=ProjectRules(settings.max_files_per_session, settings.max_file_size),
        resume=ResumeTimeouts(settings.session_resume_min / 1000, settings.session_resume_max / 1000),
        view_seconds=settings.view_ttl / 1000,
    )


def _machine_memory() -> tuple[int, int]:
    """(total, available) memory of this machine in bytes; 0 if unknown."""
    sizes = {}
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            sizes[name] = int(rest.split()[0]) * 1024
    total = sizes.get("MemTotal", 0)
    return total, sizes.get("MemAvailable", total)


def memory_available() -> float:
    """The share of this machine's memory that is available, from 0 to 1; 1.0 if unknown."""
    total, free = _machine_memory()
    return free / total if total else 1.0
