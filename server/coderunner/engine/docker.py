"""The Docker Engine adapter: every call has a deadline, and the libraries' errors become ones of `errors`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError
from msgspec import convert

from coderunner import metrics, timing, tracing
from coderunner.engine.attach import Address, AttachStream, open_attach
from coderunner.engine.containers import ContainerSpec, create_body
from coderunner.engine.faults import translated
from coderunner.engine.kinds import refuse_podman
from coderunner.engine.networks import Networks
from coderunner.engine.plain import PlainCalls
from coderunner.engine.runtimes import RUN_EXEC, inner_limits
from coderunner.engine.states import (
    ContainerState,
    ContainerSummary,
    EngineInfo,
    ImageInfo,
)
from coderunner.errors import (
    ContainerGone,
    EngineError,
    EngineTimeout,
    EngineUnavailable,
    ImageMissing,
    StartFailed,
)
from coderunner.logs import fields, outcome
from coderunner.schema.engine import (
    ContainerDocument,
    ContainerNetworks,
    ContainerRow,
    Ended,
    EngineFacts,
    EngineVersion,
    ExecDocument,
    ImageDocument,
    Made,
    VolumeList,
)

log = logging.getLogger(__name__)

# The version is negotiated, so that newer engines keep the behaviour that was tested.
OLDEST_API = (1, 41)  # Docker 20.10: the first with a private cgroup namespace
CONNECT_TIMEOUT_S = 5.0
RETRY_SECONDS = 2.0  # between attempts to reach an engine that does not answer
MAX_EVENT = 1024 * 1024  # bytes that a response is read ahead


def usual_socket(root: Path = Path("/"), home: Path | None = None) -> str:
    """The engine's address if DOCKER_HOST is not set: the first socket that this user may use, otherwise the
    first that exists, otherwise the usual one.

    The order: the machine's engine, a rootless engine of this user, Docker Desktop. `root`, `home`: for
    tests.
    """
    places = [
        root / "var/run/docker.sock",
        root / "run/docker.sock",
        root / f"run/user/{os.getuid()}/docker.sock",
    ]
    with contextlib.suppress(RuntimeError):  # the user has no home directory
        places.append((home or Path.home()) / ".docker/run/docker.sock")
    # In this order: a rootless engine's socket may exist beside one of the machine that needs a group.
    there = [place for place in places if _is_socket(place)]
    usable = [place for place in there if os.access(place, os.R_OK | os.W_OK)]
    return "unix://" + str([*usable, *there, places[0]][0])


def _is_socket(place: Path) -> bool:
    try:
        return place.is_socket()
    except OSError:  # in a folder that this user may not enter
        return False


class DockerEngine:
    """One engine. It caches nothing about containers: each method asks the engine.

    Every method may raise EngineUnavailable (the engine does not answer, or the connection broke) and
    EngineTimeout (no response within the time of a call); other errors are named at each method.
    """

    def __init__(
        self, docker: aiodocker.Docker, plain: PlainCalls, address: Address, call_timeout_s: float
    ) -> None:
        self._docker = docker
        self._plain = plain
        self._address = address
        self._call_timeout_s = call_timeout_s
        self._version_known = False
        self._pending: dict[object, float] = {}  # calls without an answer yet: when they began
        self._answered = 0.0  # when the last of them was
        self.networks = Networks(plain, self._call)

    @classmethod
    @asynccontextmanager
    async def connect(cls, host: str | None, call_timeout_s: float) -> AsyncIterator[DockerEngine]:
        """Makes the adapter for the engine at `host` (`unix:///path` or `tcp://host:port`; None: the
        default).

        `call_timeout_s`: seconds for a call. No request is sent yet, so the engine may start later.
        """
        address = Address.parse(host or usual_socket())
        # No limit, as each wait for a container's end occupies a connection. Connections are not reused: one
        # from before a restart of the engine would fail its next call, and a new one takes only 0.1 ms.
        connector: aiohttp.BaseConnector
        if address.path:
            connector = aiohttp.UnixConnector(address.path, limit=0, force_close=True)
            url = "http://docker"
        else:
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            url = f"{'https' if address.tls else 'http'}://{address.host}:{address.port}"
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            read_bufsize=MAX_EVENT,
        )
        async with session:
            docker = aiodocker.Docker(url=url, connector=connector, session=session)
            plain = PlainCalls(session, url, lambda: docker.api_version)
            yield cls(docker, plain, address, call_timeout_s)

    # --- engine -------------------------------------------------------------------------------------

    async def info(self) -> EngineInfo:
        """Version and properties of the engine and its machine."""
        async with self._call("info"):
            # At once: both are needed, and each takes some milliseconds.
            version, info = await asyncio.gather(self._docker.version(), self._docker.system.info())
            facts = convert(version, EngineVersion), convert(info, EngineFacts)
            return EngineInfo.of(*facts, self._docker.api_version)

    async def ping(self, within_s: float | None = None) -> None:
        """Returns when the engine answers. `within_s`: seconds, None for the default."""
        async with self._call("ping", within_s):
            # Without a version: an engine that is too old answers as well, and is refused later with its
            # reason.
            await self._plain.ask("GET", "_ping", object, versioned=False)

    def stalled(self) -> float:
        """Seconds since any call was answered while one waits; 0 if none waits.

        An engine may answer `ping` and nothing that needs a lock which it lost. `wait`, which lasts as long
        as its container, and `ping` itself do not count."""
        if not self._pending:
            return 0.0
        return time.monotonic() - max(self._answered, min(self._pending.values()))

    async def image(self, reference: str) -> ImageInfo | None:
        """The image with this reference or id; None if it does not exist."""
        try:
            async with self._call("image inspect"):
                document = await self._docker.images.inspect(reference)
                return ImageInfo.of(convert(document, ImageDocument))
        except ImageMissing:
            return None

    # --- containers ---------------------------------------------------------------------------------

    async def create(self, spec: ContainerSpec) -> str:
        """Creates a container and returns its id. Raises ImageMissing, NameConflict, StartFailed."""
        return await self.create_from(create_body(spec), spec.name)

    async def create_from(self, body: Mapping[str, Any], name: str) -> str:
        """As `create`, with the request body `body`, which is sent as it is."""
        async with self._call("create", refused=StartFailed):
            container = await self._docker.containers.create(dict(body), name=name)
        return container.id

    async def attach(self, container: str) -> AttachStream:
        """Attaches to the container's streams. Call it before `start`, or the first output may be lost.

        The caller must read the stream without pause, and close it. Raises ContainerGone.
        """
        async with self._call("attach"):
            return await open_attach(self._address, self._docker.api_version, container, self._call_timeout_s)

    async def start(self, container: str) -> None:
        """Starts a container. Raises ContainerGone, StartFailed with the engine's reason."""
        async with self._call("start", refused=StartFailed):
            await self._docker.containers.container(container).start()

    async def pause(self, container: str) -> None:
        """Freezes all processes of a container. Raises ContainerGone, StartFailed if the engine refuses."""
        async with self._call("pause", refused=StartFailed):
            await self._docker.containers.container(container).pause()

    async def unpause(self, container: str) -> None:
        """Resumes the processes of a container. Does nothing if it is not paused. Raises ContainerGone,
        StartFailed."""
        try:
            async with self._call("unpause", refused=StartFailed):
                await self._docker.containers.container(container).unpause()
        except StartFailed as error:
            # The engine has no other sign for it than this text; its status is that of other refusals.
            if "not paused" not in error.message:
                raise

    async def wait(self, container: str, within_s: float) -> int:
        """Waits up to `within_s` seconds for the end of a started container; returns its exit code. Raises
        ContainerGone."""
        async with self._call("wait", within_s):
            # `not-running` and not `next-exit`: a container that has ended already is answered at once.
            answer = await self._docker.containers.container(container).wait(condition="not-running")
            return convert(answer, Ended).status_code

    async def remove(self, container: str) -> None:
        """Kills and removes a container, and waits until it is removed. Does nothing if it does not exist."""
        # Only members of groups wait for each other (see Networks); removing others stays parallel.
        if container not in self.networks.members:
            await self._remove(container)
            return
        async with self.networks.changing:
            await self._remove(container)
        self.networks.members.discard(container)

    async def _remove(self, container: str) -> None:
        handle = self._docker.containers.container(container)
        try:
            async with self._call("remove"):
                try:
                    # `v`: its unnamed volume (/dev/pts) goes with it.
                    await handle.delete(force=True, v=True)
                except DockerError as error:
                    if error.status != 409:  # 409: another call is removing it at this moment
                        raise
                    await handle.wait(condition="removed")
        except ContainerGone:
            pass

    async def inspect(self, container: str) -> ContainerState:
        """The state of a container. Raises ContainerGone."""
        async with self._call("inspect"):
            document = await self._docker.containers.container(container).show()
            return ContainerState.of(convert(document, ContainerDocument))

    async def networks_of(self, container: str) -> dict[str, str]:
        """A container's addresses by the names of its networks; "" if it has no address there.

        Raises ContainerGone.
        """
        async with self._call("inspect"):
            document = await self._docker.containers.container(container).show()
            settings = convert(document, ContainerNetworks).network_settings
        joined = (settings and settings.networks) or {}
        return {name: one.ipv6_address or one.ip_address for name, one in joined.items()}

    async def inspect_raw(self, container: str) -> dict[str, Any]:
        """The engine's whole document about a container, to compare it with the request. Raises
        ContainerGone."""
        async with self._call("inspect"):
            return await self._docker.containers.container(container).show()

    async def list(self, labels: Mapping[str, str]) -> list[ContainerSummary]:
        """All containers with these labels, running or not."""
        filters = json.dumps({"label": _label_filter(labels)})
        async with self._call("list"):
            params = {"all": "1", "filters": filters}
            rows = await self._plain.ask("GET", "containers/json", tuple[ContainerRow, ...], params=params)
            return [ContainerSummary.of(row) for row in rows]

    async def prune_volumes(self, labels: Mapping[str, str]) -> int:
        """Removes unnamed volumes with these labels that no container uses; returns their number.

        The engine removes a container's volume with the container, but not if `docker rm` is used without -v.
        """
        # The engine's own prune does not remove volumes that have options.
        filters = json.dumps({"label": _label_filter(labels), "dangling": ["true"]})
        async with self._call("volume list"):
            answer = await self._plain.ask("GET", "volumes", VolumeList, params={"filters": filters})
        removed = 0
        for volume in answer.volumes or ():
            # One that cannot be removed must not keep the others.
            with contextlib.suppress(EngineError):  # in use meanwhile, or already removed
                async with self._call("volume remove"):
                    await self._plain.ask("DELETE", f"volumes/{volume.name}", object)
                removed += 1
        return removed

    async def update(
        self, container: str, *, memory_bytes: int | None = None, pids: int | None = None
    ) -> None:
        """Changes limits of a running container. Raises ContainerGone, StartFailed if the engine refuses, as
        it does with less memory than is in use.
        """
        body: dict[str, int] = {}
        if memory_bytes is not None:
            # Both limits are equal, so that there is no swap.
            body |= {"Memory": memory_bytes, "MemorySwap": memory_bytes}
        if pids is not None:
            body["PidsLimit"] = pids
        async with self._call("update", refused=StartFailed):
            await self._plain.ask("POST", f"containers/{container}/update", object, body=body)

    async def limit_inside(self, container: str, *, pids: int, memory_bytes: int) -> None:
        """Sets the limits of gVisor's own control groups in a running container.

        Raises ContainerGone, StartFailed if that is not possible."""
        async with self._call("exec", refused=StartFailed):
            # As one plain request that lasts as long as the command: aiodocker's own is for its streams.
            body = inner_limits(pids, memory_bytes)
            made = await self._plain.ask("POST", f"containers/{container}/exec", Made, body=body)
            await self._plain.ask("POST", f"exec/{made.id}/start", object, body=RUN_EXEC)
            told = await self._plain.ask("GET", f"exec/{made.id}/json", ExecDocument)
        if told.exit_code != 0:
            raise StartFailed(
                f"exec: the limits inside of the container could not be set (code {told.exit_code})"
            )

    # --- one call -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def _call(
        self, what: str, within_s: float | None = None, refused: type[EngineError] = EngineUnavailable
    ) -> AsyncIterator[None]:
        """The context of each call: deadline, API version, translation of errors, log and metrics.

        `what`: name of the call. `within_s`: seconds, None for the default. `refused`: the class of error for
        a refusal that has no more specific class.
        """
        # The time of waiting for the engine only: what callers do with the answer is outside of the context.
        began, error = time.monotonic(), None
        traced = tracing.begin("engine " + what)
        call = object()
        if what not in ("ping", "wait"):
            self._pending[call] = began
        try:
            async with self._bounded(what, within_s, refused):
                yield
        except BaseException as failure:
            error = failure
            raise
        finally:
            if self._pending.pop(call, None) is not None and not isinstance(error, EngineTimeout):
                self._answered = time.monotonic()
            # Also for cancelled calls, which are otherwise invisible in the metrics.
            seconds, told = time.monotonic() - began, outcome(error)
            traced.end(told.get("error"))
            metrics.engine_seconds.labels(what, told.get("error", "ok")).observe(seconds)
            log.debug("engine call", extra=fields(call=what, ms=round(seconds * 1000, 1), **told))

    @asynccontextmanager
    async def _bounded(
        self, what: str, within_s: float | None, refused: type[EngineError]
    ) -> AsyncIterator[None]:
        seconds = self._call_timeout_s if within_s is None else within_s
        try:
            async with timing.within(seconds):
                with translated(what, self._address, refused):
                    # Once for a connection's life: the first call pays for it, within its own deadline.
                    if not self._version_known:
                        await self._agree_on_version()
                    try:
                        yield
                    except DockerError as error:
                        # The engine may have been replaced by one without the negotiated API version.
                        self._version_known = "client version" not in error.message
                        raise
        except TimeoutError:
            raise EngineTimeout(f"{what}: no response from the engine within {seconds:g} s") from None

    async def _agree_on_version(self) -> None:
        """Chooses the lowest API version from OLDEST_API up that the engine supports, so that newer engines
        behave the same."""
        version = await self._plain.ask("GET", "version", EngineVersion, versioned=False)
        refuse_podman(version)
        newest = _api(version.api_version)
        chosen = max(OLDEST_API, _api(version.min_api_version))
        if newest < chosen:
            raise EngineUnavailable(
                f"the engine at {self._address} is too old: version {version.version or 'unknown'}"
                f" (API {version.api_version}); install Docker Engine 20.10 (API 1.41) or newer"
            )
        self._docker.api_version = f"v{chosen[0]}.{chosen[1]}"
        self._version_known = True


def _api(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _label_filter(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in labels.items()]
